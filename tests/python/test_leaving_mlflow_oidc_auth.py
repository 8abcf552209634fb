"""docs/leaving-mlflow-oidc-auth.md, step by step: from a database that mlflow-oidc-auth made to ours."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from support import venvs, wire
from support.browser import Browser
from support.people import Command
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer

RIVALS_PYTHON = venvs.folder() / "bench" / "bin" / "python"
CARRY_OVER = venvs.REPOSITORY / "examples" / "leaving-mlflow-oidc-auth" / "carry_over.py"
PASSWORD = {"MLFLOW_TRACKING_USERNAME": ADMIN[0], "MLFLOW_TRACKING_PASSWORD": ADMIN[1]}


def made_by_the_rival(folder: Path, told: dict[str, object]) -> str:
    """The address of its database."""
    if not RIVALS_PYTHON.exists():
        why = f"no {RIVALS_PYTHON}: `make test-python` puts it there, where there is a Python 3.12"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    address = f"sqlite:///{folder}/auth.db"
    done = subprocess.run(
        [str(RIVALS_PYTHON), str(venvs.PROGRAMS / "rival_database.py"), address, json.dumps(told)],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "SECRET_KEY": "x" * 32,
            "OIDC_DISCOVERY_URL": "http://127.0.0.1:1/x",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return address


def carried(*words: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(CARRY_OVER), *words],
        env={"PATH": "/usr/bin:/bin", "NO_PROXY": "*", **PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def allowed(server: MlflowServer, experiments: dict[str, str], token: str) -> dict[str, int]:
    path, tag = "/api/2.0/mlflow/experiments/set-experiment-tag", {"key": "k", "value": "v"}
    return {
        name: server.call("POST", path, token=token, json={"experiment_id": number, **tag}).status_code
        for name, number in experiments.items()
    }


@pytest.mark.timeout(300)
def test_people_groups_and_grants_come_along(
    make_server: MakeServer, provider: Provider, tmp_path: Path
) -> None:
    team, ada, bob = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("team", "ada", "bob"))
    groups = {ada: ["MLFLOW", team], bob: ["MLFLOW"]}
    names = {subject: provider.put_user(subject, groups=groups[subject]) for subject in groups}
    server = make_server("3.17.2", provider.issuer)
    create = "/api/2.0/mlflow/experiments/create"
    experiments = {
        name: server.admin("POST", create, json={"name": name})["experiment_id"]
        for name in ("of-the-team", "of-bob", "of-nobody", "forbidden")
    }
    server.admin("POST", "/api/2.0/mlflow/registered-models/create", json={"name": "iris"})
    address = made_by_the_rival(
        tmp_path,
        {
            "groups": {
                team: {
                    "experiments": {experiments["of-the-team"]: "EDIT", experiments["forbidden"]: "EDIT"},
                    "models": {"iris": "READ"},
                    "patterns": {"^team-.*": "READ"},
                },
                "*": {"experiments": {"0": "READ"}},
                "evil\n    experiment * MANAGE": {"experiments": {"0": "READ"}},
            },
            "people": {
                names[ada]: {
                    "subject": ada,
                    "groups": [team],
                    "experiments": {experiments["forbidden"]: "NO_PERMISSIONS"},
                },
                names[bob]: {
                    "subject": bob,
                    "groups": [],
                    "experiments": {experiments["of-bob"]: "MANAGE", "999": "READ"},
                    "models": {"iris": "EDIT"},
                },
                "job@example.org": {"subject": None, "groups": []},
            },
        },
    )

    roles = carried(address, "roles")
    head, *lines = roles.splitlines()
    assert head == "[oidc:roles]"
    assert lines == [
        "# left out, by hand: the group '*' and its 1 grants",
        r"# left out, by hand: the group 'evil\n    experiment * MANAGE' and its 1 grants",
        f"default/{team} =",
        f"    group {team}",
        *sorted(f"    experiment {experiments[name]} EDIT" for name in ("of-the-team", "forbidden")),
        "    registered_model iris READ",
    ]
    server.roles_section = "\n".join(lines)
    server.restart()

    users = Command(server)
    commands = carried(address, "people").splitlines()
    assert [line for line in commands if line.startswith("#")] == [
        "# 'job@example.org': 0 subjects are known; the first login or bearer makes the account"
    ]
    for line in commands:
        if not line.startswith("#"):
            program, command, *words = shlex.split(line)
            assert (program, command) == ("mlflow-oidc", "users")
            users.said(*words)
    given = carried(address, "grants", server.url)
    assert given.count("given ") == 5, given
    nowhere = carried(address, "grants", f"{server.url}/nowhere", status=1)
    assert nowhere.count("FAILED") == 5, nowhere
    rest = carried(address, "rest")
    assert "experiment_group_regex_permissions: regex='^team-.*'" in rest

    assert allowed(server, experiments, provider.bearer(ada, groups=groups[ada])) == {
        "of-the-team": 200,
        "of-bob": 403,
        "of-nobody": 403,
        "forbidden": 403,
    }
    assert allowed(server, experiments, provider.bearer(bob, groups=groups[bob])) == {
        "of-the-team": 403,
        "of-bob": 200,
        "of-nobody": 403,
        "forbidden": 403,
    }
    browser = Browser(server)
    browser.login(provider, ada)
    assert browser.signed_in()["username"] == names[ada]
    assert users.person(names[ada])["account"] == "made here"
    # Somebody else whom the provider calls by a name that came along.
    mallory = provider.bearer("mallory", email=names[bob])
    wire.refusal(server.call("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", token=mallory), 403)


def test_what_was_asked_wrongly_is_said() -> None:
    for words in ((), ("sqlite://", "everything"), ("sqlite://", "grants")):
        done = subprocess.run([sys.executable, str(CARRY_OVER), *words], capture_output=True, check=False)
        assert done.returncode == 2
        assert b"carry_over.py ADDRESS" in done.stderr
