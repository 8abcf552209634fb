"""Groups become MLflow's roles: real tokens and logins, and MLflow's own permission checks decide.

MLflow's look-ups would be remembered for five minutes here, and our own rows for one: nothing is seen only
because something has run out.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support import venvs
from support.browser import Browser
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

VERSION = "3.17.2"
API = "/api/2.0/mlflow"
ROLES_API = "/api/3.0/mlflow/roles"
PREFIX = "oidc:"

ROLES = """\
scientists =
    group ml-research
    group teams/*
    experiment * EDIT
reviewers =
    group Quality Assurance
    registered_model * READ
readers =
    everyone
    prompt * READ"""


def settings(provider: Provider, **more: str) -> dict[str, str]:
    return settings_for(
        provider.issuer,
        OIDC_PERMISSION_CACHE_SECONDS="300",
        OIDC_SESSION_CACHE_SECONDS="60",
        **more,
    )


@pytest.fixture(scope="module")
def server(make_module_server: MakeServer, provider: Provider) -> Iterator[MlflowServer]:
    """Two workers, and the roles in `basic_auth.ini`."""
    section = "# Written as people write.\n" + ROLES.replace("EDIT", "EDIT\n    ; and no more")
    return make_module_server(
        VERSION, provider.issuer, workers=2, settings=settings(provider), roles_section=section
    )


@pytest.fixture(scope="module")
def experiment(server: MlflowServer) -> str:
    made = server.admin("POST", f"{API}/experiments/create", json={"name": "of everybody"})
    return str(made["experiment_id"])


class Bearer:
    """Somebody with tokens, each newer than the last."""

    def __init__(self, server: MlflowServer, provider: Provider, subject: str) -> None:
        self.server, self.provider, self.subject = server, provider, subject
        self.name = f"{subject}@example.org"
        self._issued = int(time.time()) - 1000
        self.token = ""

    def joins(self, *groups: str) -> Bearer:
        """A new token with these groups and the one that lets in."""
        return self.told(["MLFLOW", *groups])

    def told(self, groups: list[str] | None) -> Bearer:
        self._issued += 1
        self.token = self.provider.bearer(self.subject, groups=groups, iat=self._issued)
        return self

    def tag(self, experiment: str) -> int:
        """The status of a change to an experiment, for which READ is not enough."""
        body = {"experiment_id": experiment, "key": "a", "value": "b"}
        return self.server.call(
            "POST", f"{API}/experiments/set-experiment-tag", token=self.token, json=body
        ).status_code

    def on_each_worker(self, experiment: str) -> list[int]:
        answers = []
        for worker in range(self.server.workers):
            with self.server.only_worker(worker):
                answers.append(self.tag(experiment))
        return answers

    def roles(self) -> list[str]:
        return roles_of(self.server, self.name)


@pytest.fixture
def bearer(server: MlflowServer, provider: Provider, person: Callable[..., str]) -> Callable[[], Bearer]:
    return lambda: Bearer(server, provider, person())


def roles_of(server: MlflowServer, username: str) -> list[str]:
    """`workspace/name` of each role of a user, except those that MLflow keeps for itself."""
    query = (
        "SELECT r.workspace || '/' || r.name FROM roles r JOIN user_role_assignments a ON a.role_id = r.id "
        "JOIN users u ON u.id = a.user_id WHERE u.username = ? ORDER BY 1"
    )
    return [name for (name,) in server.rows(query, username) if "__user_" not in name]


def state(server: MlflowServer) -> dict[str, Any]:
    """All roles with their grants and people, without MLflow's own."""
    found: dict[str, Any] = {}
    for number, name in server.rows("SELECT id, workspace || '/' || name FROM roles"):
        grants = "SELECT resource_type, resource_pattern, permission FROM role_permissions WHERE role_id = ?"
        people = (
            "SELECT username FROM users JOIN user_role_assignments ON user_id = users.id WHERE role_id = ?"
        )
        if "__user_" not in name:
            assert name not in found
            found[name] = {
                "grants": sorted(" ".join(row) for row in server.rows(grants, number)),
                "people": sorted(row[0] for row in server.rows(people, number)),
            }
    left = "SELECT count(*) FROM {} WHERE role_id NOT IN (SELECT id FROM roles)"
    for table in ("role_permissions", "user_role_assignments"):
        assert server.rows(left.format(table)) == [(0,)], f"{table} has rows of no role"
    return found


READERS, SCIENTISTS, REVIEWERS = "default/oidc:readers", "default/oidc:scientists", "default/oidc:reviewers"


def test_a_group_gives_a_right_at_the_next_request_and_takes_it_on_every_worker(
    bearer: Callable[[], Bearer], experiment: str
) -> None:
    alice = bearer().joins()
    assert alice.on_each_worker(experiment) == [403, 403]
    assert alice.roles() == [READERS]
    for group in ("ml-research", "/teams/nlp"):
        assert alice.joins(group).on_each_worker(experiment) == [200, 200]
        assert alice.roles() == [READERS, SCIENTISTS]
        assert alice.joins("Quality Assurance").on_each_worker(experiment) == [403, 403]
        assert alice.roles() == [READERS, REVIEWERS]
    alice.joins("ml-research").on_each_worker(experiment)
    # Out of the group that lets in: not even the right to ask.
    assert alice.told(["ml-research"]).on_each_worker(experiment) == [403, 403]
    assert alice.roles() == []


def test_a_token_without_groups_changes_nothing(bearer: Callable[[], Bearer], experiment: str) -> None:
    alice = bearer().joins("ml-research")
    assert alice.tag(experiment) == 200
    assert alice.told(None).tag(experiment) == 403
    assert alice.roles() == [READERS, SCIENTISTS]


def test_a_login_gives_and_takes_roles(
    server: MlflowServer, provider: Provider, person: Callable[..., str], experiment: str
) -> None:
    subject = person(groups=["MLFLOW", "ml-research"])
    body = {"experiment_id": experiment, "key": "a", "value": "b"}

    def tag() -> int:
        browser = Browser(server)
        browser.login(provider, subject)
        return browser.xhr(
            "POST", f"{API}/experiments/set-experiment-tag".replace("/api", "/ajax-api"), json=body
        ).status_code

    assert tag() == 200
    time.sleep(1)
    provider.put_user(subject, groups=["MLFLOW"])
    assert tag() == 403
    assert roles_of(server, f"{subject}@example.org") == [READERS]


def test_what_hands_made_stays_and_a_name_of_ours_is_no_gift(
    server: MlflowServer, bearer: Callable[[], Bearer], experiment: str
) -> None:
    alice = bearer().joins()
    assert alice.tag(experiment) == 403
    role = server.admin("POST", f"{ROLES_API}/create", json={"name": "by hand", "workspace": "default"})[
        "role"
    ]
    grant = {
        "role_id": role["id"],
        "resource_type": "experiment",
        "resource_pattern": "*",
        "permission": "EDIT",
    }
    server.admin("POST", f"{ROLES_API}/permissions/add", json=grant)
    server.admin("POST", f"{ROLES_API}/assign", json={"username": alice.name, "role_id": role["id"]})
    listed = server.admin("GET", f"{ROLES_API}/list", params={"workspace": "default"})["roles"]
    ours = next(each["id"] for each in listed if each["name"] == "oidc:scientists")
    server.admin("POST", f"{ROLES_API}/assign", json={"username": alice.name, "role_id": ours})
    # The next that the provider says of her: the one stays, the other goes.
    assert alice.joins("Quality Assurance").on_each_worker(experiment) == [200, 200]
    assert alice.roles() == ["default/by hand", READERS, REVIEWERS]
    server.admin("DELETE", f"{ROLES_API}/delete", json={"role_id": role["id"]})
    assert alice.tag(experiment) == 403
    # A role that somebody removes is there again for the next who should have it.
    server.admin("DELETE", f"{ROLES_API}/delete", json={"role_id": ours})
    assert alice.joins("ml-research").tag(experiment) == 200
    assert alice.roles() == [READERS, SCIENTISTS]


@pytest.fixture
def own(make_server: MakeServer, provider: Provider) -> Callable[..., MlflowServer]:
    def make(text: str = ROLES, **arguments: Any) -> MlflowServer:
        more = arguments.pop("settings", {})
        return make_server(
            VERSION, provider.issuer, settings=settings(provider, OIDC_ROLES=text, **more), **arguments
        )

    return make


def test_a_line_that_goes_takes_what_it_gave(
    own: Callable[..., MlflowServer], provider: Provider, person: Callable[..., str]
) -> None:
    server = own()
    alice = Bearer(server, provider, person()).joins("ml-research")
    experiment = server.admin("POST", f"{API}/experiments/create", json={"name": "x"})["experiment_id"]
    assert alice.tag(experiment) == 200
    # The token is the same after each restart: nothing but the settings has changed.
    server.restart(OIDC_ROLES=ROLES.replace("EDIT", "READ"))
    assert alice.tag(experiment) == 403
    assert state(server)[SCIENTISTS]["grants"] == ["experiment * READ"]
    server.restart(OIDC_ROLES=ROLES.replace("    group ml-research\n", ""))
    assert alice.tag(experiment) == 403
    assert alice.roles() == [READERS]
    server.restart(OIDC_ROLES="")
    assert alice.tag(experiment) == 403
    assert state(server) == {}


def test_a_deny_beats_what_another_role_gives(
    own: Callable[..., MlflowServer], provider: Provider, person: Callable[..., str]
) -> None:
    server = own(f"{ROLES}\nsuspended =\n    group suspended\n    experiment * DENY")
    experiment = server.admin("POST", f"{API}/experiments/create", json={"name": "x"})["experiment_id"]
    alice = Bearer(server, provider, person())
    assert alice.joins("ml-research").tag(experiment) == 200
    assert alice.joins("ml-research", "suspended").tag(experiment) == 403
    answer = server.call(
        "GET", f"{API}/experiments/get", token=alice.token, params={"experiment_id": experiment}
    )
    assert answer.status_code == 403, "READ is everybody's by default"
    assert alice.joins("ml-research").tag(experiment) == 200


def test_a_fault_in_one_line_changes_nothing_and_lets_nobody_in(
    own: Callable[..., MlflowServer], provider: Provider, person: Callable[..., str]
) -> None:
    server = own()
    alice = Bearer(server, provider, person()).joins("ml-research")
    experiment = server.admin("POST", f"{API}/experiments/create", json={"name": "x"})["experiment_id"]
    assert alice.tag(experiment) == 200
    before = state(server)
    server.restart(
        OIDC_ROLES="readers =\n everyone\n experiment * READ\nx =\n everyone\n experiment my-name EDIT"
    )
    assert alice.tag(experiment) == 500
    assert state(server) == before
    told = (
        "OIDC_ROLES x: expected '*', or the number of an experiment (its id, not its name), found 'my-name'"
    )
    assert told in server.log_text()


def test_workers_that_all_start_at_once_end_in_the_same_state(
    own: Callable[..., MlflowServer], provider: Provider, person: Callable[..., str]
) -> None:
    """Each worker makes the roles at its first request: 4 workers on one database, all asked at once."""
    many = "\n".join(f"role-{n} =\n group g-{n}\n experiment * EDIT\n prompt * READ" for n in range(60))
    first = own(many, workers=2)
    second = own(many, workers=2, folder=first.folder, fresh=True)
    people = [Bearer(first, provider, person()).joins("g-7", "g-8") for _ in range(4)]

    def ask(index: int) -> int:
        server = (first, second)[index % 2]
        return server.call(
            "GET", f"{API}/users/current", token=people[index % len(people)].token, timeout=60
        ).status_code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert set(answers) == {200}
    found = state(first)
    assert len(found) == 60
    names = sorted(each.name for each in people)
    for n in range(60):
        row = found[f"default/oidc:role-{n}"]
        assert row["grants"] == ["experiment * EDIT", "prompt * READ"]
        assert row["people"] == (names if n in (7, 8) else [])


def test_a_crash_between_the_roles_and_the_note_of_the_groups_is_healed(
    own: Callable[..., MlflowServer], provider: Provider, person: Callable[..., str]
) -> None:
    """Killed with -9 while it waits to note the groups, the roles written already."""
    server = own()
    alice = Bearer(server, provider, person()).joins()
    experiment = server.admin("POST", f"{API}/experiments/create", json={"name": "x"})["experiment_id"]
    assert alice.tag(experiment) == 403
    for groups, others, expected in ((["ml-research"], [], 200), ([], ["ml-research"], 403)):
        gained = bool(groups)
        with closing(sqlite3.connect(server.folder / "basic_auth.db-oidc", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            alice.joins(*groups)
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(_asked, alice, experiment)
                _wait_for(lambda given=gained: (SCIENTISTS in alice.roles()) == given)
                _kill(server)
                assert asked.result() is None
            lock.execute("ROLLBACK")
        noted = server.rows("SELECT groups FROM oidc_identities", database="basic_auth.db-oidc")[0][0]
        assert ("ml-research" in noted) != gained
        server.restart()
        # What was left half done is undone for whoever is where they were, and done for the others.
        assert alice.joins(*others).tag(experiment) != expected
        assert alice.joins(*groups).tag(experiment) == expected


def _asked(alice: Bearer, experiment: str) -> int | None:
    try:
        return alice.tag(experiment)
    except Exception:
        return None


def _kill(server: MlflowServer) -> None:
    """Nothing of it can do anything any more."""
    process = server._process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Command:
    """`mlflow-oidc` in the folder and environment of a server."""

    def __init__(self, server: MlflowServer) -> None:
        self.server = server

    def start(self, *arguments: str, terminal: int | None = None, **variables: str) -> subprocess.Popen[str]:
        """For those that are not to come to their end, and those that ask at a terminal."""
        return subprocess.Popen(
            [str(venvs.program(self.server.version, "mlflow-oidc")), *arguments],
            cwd=self.server.folder,
            env={**self.server.environment(), **variables},
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(venvs.program(self.server.version, "mlflow-oidc")), *arguments],
            cwd=self.server.folder,
            env={**self.server.environment(), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_a_crash_while_roles_are_made_leaves_all_or_nothing(own: Callable[..., MlflowServer]) -> None:
    """`roles apply` does it by the same transaction as a worker, and is killed with -9 in it."""
    many = "\n".join(f"role-{n} =\n group g-{n}\n experiment * EDIT\n prompt * READ" for n in range(400))
    server = own("")
    command = Command(server)
    killed = 0
    for wait in (0, 0.02, 0.05, 0.1, 0.2):
        assert command.run("roles", "apply", "--yes", "--remove-all-roles", OIDC_ROLES="").returncode == 0
        assert state(server) == {}
        with closing(sqlite3.connect(server.folder / "basic_auth.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            applying = command.start("roles", "apply", "--yes", OIDC_ROLES=many)
            assert applying.stdout is not None
            while not applying.stdout.readline().startswith("Plan: roles 400 to create"):
                assert applying.poll() is None
            lock.execute("ROLLBACK")
            time.sleep(wait)
        applying.kill()
        killed += applying.wait(10) == -signal.SIGKILL
        applying.stdout.close()
        found = state(server)
        assert len(found) in (0, 400), len(found)
        assert all(len(row["grants"]) == 2 for row in found.values())
    assert killed >= 3, "most of them were in the middle"
    # Whatever one of them left, the next start of a server ends where it should.
    server.restart(OIDC_ROLES=many)
    server.call("GET", "/version", token="x.y.z")
    _wait_for(lambda: len(state(server)) == 400)


def test_plan_and_apply_as_people_see_them(own: Callable[..., MlflowServer], provider: Provider) -> None:
    server = own(ROLES)
    for subject, groups in (("plan-alice", ["ml-research"]), ("plan-bob", ["Quality Assurance"])):
        provider.put_user(subject)
        assert Bearer(server, provider, subject).joins(*groups).tag("0") in (200, 403)
    wanted = ROLES.replace("group teams/*", "group Quality Assurance").replace("EDIT", "MANAGE")
    wanted = wanted[: wanted.index("reviewers")] + wanted[wanted.index("readers") :]
    wanted += "\nresearch/guests =\n    group ml-*\n    workspace * USE"
    command = Command(server)
    head = f"Members: MLFLOW. Administrators: MLFLOW_admin.\nProvider: {provider.issuer}\n\n"
    none = command.run("roles", "plan", "--detailed-exitcode")
    assert (none.returncode, none.stdout) == (
        0,
        f"Roles in the settings: 3, from OIDC_ROLES\n{head}"
        "No changes. MLflow's roles are those of [oidc:roles].\n",
    )
    before = state(server)
    planned = command.run("roles", "plan", OIDC_ROLES=wanted)
    assert planned.stderr == ""
    assert planned.returncode == 0
    assert (
        planned.stdout == f"Roles in the settings: 3, from OIDC_ROLES\n{head}"
        """\
warning: 1 of the roles of [oidc:roles] (research/guests first) give nothing: they are of other workspaces \
than 'default', and MLFLOW_ENABLE_WORKSPACES is not set
default/reviewers
  - delete the role
  - unassign plan-bob@example.org (the role goes)

default/scientists
  ~ describe it anew
  ~ change experiment * EDIT -> MANAGE
  + assign plan-bob@example.org (group Quality Assurance)

research/guests
  + create the role
  + grant workspace * USE
  + assign plan-alice@example.org (group ml-research)

Plan: roles 1 to create, 1 to describe anew, 1 to delete; grants 1 to give, 1 to change, 0 to revoke; \
people 2 to assign, 1 to unassign.
"""
    )
    assert command.run("roles", "plan", "--detailed-exitcode", OIDC_ROLES=wanted).returncode == 2
    told = json.loads(command.run("roles", "plan", "--json", OIDC_ROLES=wanted).stdout)
    assert {
        "do": "assign",
        "workspace": "default",
        "role": "oidc:scientists",
        "user": "plan-bob@example.org",
        "user_id": server.rows("SELECT id FROM users WHERE username = 'plan-bob@example.org'")[0][0],
        "because": "group Quality Assurance",
    } in told["changes"]
    assert state(server) == before, "a plan changes nothing"
    applied = command.run("roles", "apply", "--yes", OIDC_ROLES=wanted)
    assert (applied.returncode, applied.stdout) == (0, planned.stdout + "\nDone.\n")
    assert state(server) == {
        READERS: {
            "grants": ["prompt * READ"],
            "people": ["plan-alice@example.org", "plan-bob@example.org"],
        },
        SCIENTISTS: {
            "grants": ["experiment * MANAGE"],
            "people": ["plan-alice@example.org", "plan-bob@example.org"],
        },
        "research/oidc:guests": {"grants": ["workspace * USE"], "people": ["plan-alice@example.org"]},
    }
    assert "No changes." in command.run("roles", "apply", OIDC_ROLES=wanted).stdout


def test_apply_does_only_what_was_shown_and_only_where_it_is_meant(
    own: Callable[..., MlflowServer], tmp_path: Path
) -> None:
    server = own(ROLES)
    server.call("GET", "/version", token="x.y.z")
    _wait_for(lambda: len(state(server)) == 3)
    command, before = Command(server), state(server)
    file = tmp_path / "roles"
    file.write_text(ROLES.replace("EDIT", "MANAGE"), encoding="utf-8")
    from_file = {"OIDC_ROLES": "", "OIDC_ROLES_FILE": str(file)}
    unasked = command.run("roles", "apply", **from_file)
    assert unasked.returncode == 2
    assert unasked.stdout.startswith(f"Roles in the settings: 3, from OIDC_ROLES_FILE ({file})\n")
    assert unasked.stderr == (
        "mlflow-oidc roles apply: nothing was changed. Say --yes where nobody can be asked\n"
    )
    # In a shell that does not have the server's settings.
    for arguments in (["--yes"], []):
        bare = command.run("roles", "apply", *arguments, OIDC_ROLES="")
        assert bare.returncode == 1
        assert "there is no role in any of them" in bare.stdout
        assert "say --remove-all-roles if all of them are to go" in bare.stderr
    assert state(server) == before

    def answer(meanwhile: Callable[[], None]) -> tuple[int, str]:
        """Somebody reads the plan at a terminal, something happens, and they say yes."""
        ours, theirs = os.openpty()
        with os.fdopen(ours, "wb", buffering=0) as terminal:
            asked = command.start("roles", "apply", terminal=theirs, **from_file)
            os.close(theirs)
            assert asked.stdout is not None
            while not asked.stdout.readline().startswith("Plan: "):
                assert asked.poll() is None
            meanwhile()
            terminal.write(b"yes\n")
            told, _ = asked.communicate(timeout=30)
        return asked.returncode, told

    def somebody_adds_a_grant() -> None:
        with closing(sqlite3.connect(server.folder / "basic_auth.db", isolation_level=None)) as connection:
            connection.execute(
                "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission) "
                "SELECT id, 'experiment', '*', 'READ' FROM roles WHERE name = 'oidc:readers'"
            )

    status, told = answer(somebody_adds_a_grant)
    assert (status, "Done." in told) == (1, False)
    assert state(server)[SCIENTISTS] == before[SCIENTISTS]
    # The file is another one by then: what was shown counts.
    status, told = answer(lambda: file.write_text("x =\n everyone\n prompt * MANAGE") and None)
    assert (status, told.endswith("Done.\n")) == (0, True)
    assert state(server)[SCIENTISTS]["grants"] == ["experiment * MANAGE"]
    assert len(state(server)) == 3
    all_gone = command.run("roles", "apply", "--yes", "--remove-all-roles", OIDC_ROLES="")
    assert (all_gone.returncode, state(server)) == (0, {})
    # A terminal that has no such letters.
    odd = command.run("roles", "plan", OIDC_USER_GROUP="équipe 研究", PYTHONIOENCODING="ascii")
    assert (odd.returncode, odd.stderr) == (0, "")
    assert r"Members: \xe9quipe \u7814\u7a76." in odd.stdout


def test_plan_and_apply_refuse_what_they_cannot_do(own: Callable[..., MlflowServer], tmp_path: Path) -> None:
    server = own(ROLES)
    server.call("GET", "/version", token="x.y.z")
    command = Command(server)
    refused = command.run("roles", "apply", OIDC_ROLES="x =\n everyone\n experiment * EDITS")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "mlflow-oidc roles apply: the settings have faults; nothing was changed. OIDC_ROLES x: "
        "expected READ, USE, EDIT, MANAGE, DENY on experiment, did you mean EDIT?, "
        "found 'EDITS' in 'experiment * EDITS'\n"
    )
    with closing(sqlite3.connect(server.folder / "basic_auth.db")) as connection:
        connection.execute("ALTER TABLE roles ADD COLUMN priority INTEGER")
    refused = command.run("roles", "plan")
    assert refused.returncode == 1
    assert "the table 'roles' of MLflow 3.17.2 has the columns" in refused.stderr
    server.restart()
    server.call("GET", "/version", token="x.y.z")
    assert (
        "[oidc:roles] is not carried out: the table 'roles' of MLflow 3.17.2 has the columns"
        in server.log_text()
    )


def test_the_doctor_says_whether_all_is_in_the_database(own: Callable[..., MlflowServer]) -> None:
    server = own(ROLES)
    server.call("GET", "/version", token="x.y.z")
    _wait_for(lambda: len(state(server)) == 3)
    command = Command(server)

    def row(**variables: str) -> str:
        seen = command.run("doctor", **variables).stdout
        (found,) = re.findall(r"^(\w+ +roles: .*)$", seen, re.MULTILINE) or [seen]
        return str(found)

    assert row() == "ok      roles: 3 in [oidc:roles], and MLflow's roles are those"
    assert row(OIDC_ROLES=ROLES.replace("EDIT", "READ")) == (
        "warning roles: 3 in [oidc:roles]; not all is in the database yet. Plan: roles 0 to create, "
        "0 to describe anew, 0 to delete; grants 0 to give, 1 to change, 0 to revoke; "
        "people 0 to assign, 0 to unassign."
    )
