"""docs/taking-it-out.md, step by step: MLflow's own function goes on with every user, role and grant."""

from __future__ import annotations

import uuid
from typing import Any

from support import wire
from support.browser import Browser
from support.people import Command
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for

MLFLOWS_OWN = "mlflow.server.auth:authenticate_request_basic_auth"
PASSWORD = "given-by-the-administrator-1"
LOCAL = ("local", "a-password-of-its-own-123")


def rights(server: MlflowServer, experiments: dict[str, str], **who: Any) -> dict[str, int]:
    """What becomes of a change to each experiment."""
    return {
        name: server.call(
            "POST",
            "/api/2.0/mlflow/experiments/set-experiment-tag",
            json={"experiment_id": number, "key": "k", "value": "v"},
            **who,
        ).status_code
        for name, number in experiments.items()
    }


def give_rights(server: MlflowServer, username: str) -> dict[str, str]:
    """One by a grant of their own, one by a role, and one that is left to the default (READ)."""
    create = "/api/2.0/mlflow/experiments/create"
    experiments = {
        name: server.admin("POST", create, json={"name": name})["experiment_id"]
        for name in ("own", "role", "other")
    }
    given = {"username": username, "resource_type": "experiment", "permission": "EDIT"}
    own = {**given, "resource_id": experiments["own"]}
    server.admin("POST", "/api/3.0/mlflow/users/permissions/grant", json=own)
    role = {"name": "editors", "workspace": "default"}
    number = server.admin("POST", "/api/3.0/mlflow/roles/create", json=role)["role"]["id"]
    line = {
        "role_id": number,
        "resource_type": "experiment",
        "resource_pattern": experiments["role"],
        "permission": "EDIT",
    }
    server.admin("POST", "/api/3.0/mlflow/roles/permissions/add", json=line)
    server.admin("POST", "/api/3.0/mlflow/roles/assign", json={"username": username, "role_id": number})
    return experiments


def test_out_and_back_in(make_server: MakeServer, provider: Provider) -> None:
    ada, boss = (f"{name}-{uuid.uuid4().hex[:12]}" for name in ("ada", "boss"))
    name = provider.put_user(ada)
    provider.put_user(boss, groups=["MLFLOW_admin"])
    server = make_server("3.17.2", provider.issuer)
    browser = Browser(server)
    browser.login(provider, ada)
    Browser(server).login(provider, boss)
    local = dict(zip(("username", "password"), LOCAL, strict=True))
    server.admin("POST", "/api/2.0/mlflow/users/create", json=local)
    experiments = give_rights(server, name)
    before = rights(server, experiments, token=provider.bearer(ada))
    assert before == {"own": 200, "role": 200, "other": 403}
    listed = {row["username"] for row in Command(server).json("list")}
    assert listed == {name, f"{boss}@example.org"}
    rows = server.every_row("basic_auth.db")
    server.stop()

    out = make_server(
        "3.17.2",
        provider.issuer,
        # What is left of the environment.
        settings={"MLFLOW_LOGGING_LEVEL": "INFO"},
        function=MLFLOWS_OWN,
        folder=server.folder,
        fresh=True,
    )
    assert out.every_row("basic_auth.db") == rows
    assert out.call("GET", "/", headers={"Cookie": f"mlflow_oidc={browser.cookie}"}).status_code == 401
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert out.call("GET", path, token=provider.bearer(ada)).status_code >= 400
    for password in ("", "oidc:no-password:mlflow-oidc", name):
        assert out.call("GET", path, auth=(name, password)).status_code == 401
    assert out.call("GET", path, auth=LOCAL).status_code == 200

    change = {"username": name, "password": PASSWORD}
    out.admin("PATCH", "/api/2.0/mlflow/users/update-password", json=change)
    assert rights(out, experiments, auth=(name, PASSWORD)) == before
    without_hash = {**rows, "users": [row[:2] + row[3:] for row in rows["users"]]}
    after = out.every_row("basic_auth.db")
    assert {**after, "users": [row[:2] + row[3:] for row in after["users"]]} == without_hash
    assert out.call("GET", path, auth=ADMIN).status_code == 200
    out.stop()

    back = make_server(
        "3.17.2", provider.issuer, settings=settings_for(provider.issuer), folder=server.folder, fresh=True
    )
    assert rights(back, experiments, token=provider.bearer(ada)) == before
    again = back.call("GET", path, auth=(name, PASSWORD))
    wire.refusal(again, 401, "account_without_password")
    back.stop()

    for file in server.folder.glob("basic_auth.db-oidc*"):
        file.unlink()
    dropped = make_server(
        "3.17.2", provider.issuer, settings=settings_for(provider.issuer), folder=server.folder, fresh=True
    )
    wire.refusal(dropped.call("GET", path, token=provider.bearer(ada)), 403, "username_taken")
    Command(dropped).said("link", name, "--subject", ada)
    assert rights(dropped, experiments, token=provider.bearer(ada)) == before
    # An account without a password is found again by its name.
    boss_token = provider.bearer(boss, groups=["MLFLOW_admin"])
    assert rights(dropped, experiments, token=boss_token) == dict.fromkeys(before, 200)
