"""Nobody in particular: every path says 401 and changes nothing, and a program can read why."""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from support import venvs, wire
from support.provider import Provider
from support.server import SESSION_SECRET, MlflowServer

# MLflow itself lets everybody in here, before it asks us.
PUBLIC = ("/static", "/favicon.ico", "/health")
PUBLIC_SUFFIX = "/mlflow/server-info"

# A page where a line was due.
MARKUP = re.compile(r"</|<[a-z!]")


@functools.cache
def routes(version: str) -> list[tuple[str, str]]:
    """Every (method, path) that this MLflow has, Flask's and the native ones."""
    home = venvs.template(version) / "routes"
    home.mkdir(exist_ok=True)
    variables = {
        "MLFLOW_FLASK_SERVER_SECRET_KEY": SESSION_SECRET,
        "MLFLOW_AUTH_ADMIN_PASSWORD": SESSION_SECRET,
    }
    said = venvs.output(version, "list_routes.py", home=home, _MLFLOW_SGI_NAME="uvicorn", **variables)
    return [(method, path) for method, path in json.loads(said.splitlines()[-1])]


def filled(path: str) -> str:
    """A path whose variables have values: the default workspace exists, and it is the one that was wiped."""
    return re.sub(r"\{([^}]+)\}", lambda m: "default" if "workspace" in m[1] else "1", path)


def test_the_list_of_routes_is_whole(version: str) -> None:
    """The sweep below is worth what this list is worth."""
    known = set(routes(version))
    expected = {
        ("POST", "/api/2.0/mlflow/registered-models/rename"),
        ("DELETE", "/api/2.0/mlflow/registered-models/delete"),
        ("POST", "/api/2.0/mlflow/users/create"),
        ("DELETE", "/api/2.0/mlflow/users/delete"),
        ("GET", "/get-artifact"),
        ("GET", "/"),
    }
    if version.startswith("3."):
        expected |= {
            ("DELETE", "/api/3.0/mlflow/workspaces/{workspace_name}"),
            ("POST", "/v1/traces"),
            ("POST", "/gateway/mlflow/v1/chat/completions"),
            ("GET", "/api/3.0/mlflow/mcp-servers"),
            ("POST", "/graphql"),
        }
    assert expected <= known, expected - known
    assert len(known) > 250


class Store:
    """A permission store with something in it, made through MLflow's API by its administrator."""

    def __init__(self, server: MlflowServer) -> None:
        mark = uuid.uuid4().hex[:8]
        self.server, self.carol, self.model = server, f"carol-{mark}", f"model-{mark}"
        self.role_id = 0
        user = {"username": self.carol, "password": "a-password-of-her-own-123"}
        server.admin("POST", "/api/2.0/mlflow/users/create", json=user)
        made = server.admin("POST", "/api/2.0/mlflow/experiments/create", json={"name": f"experiment-{mark}"})
        self.experiment = made["experiment_id"]
        server.admin("POST", "/api/2.0/mlflow/registered-models/create", json={"name": self.model})
        if server.modern:
            self._add_roles(f"role-{mark}")
        else:
            self._grant("/api/2.0/mlflow/experiments/permissions/create", experiment_id=self.experiment)
            self._grant("/api/2.0/mlflow/registered-models/permissions/create", name=self.model)

    def _add_roles(self, role: str) -> None:
        server = self.server
        made = server.admin(
            "POST", "/api/3.0/mlflow/roles/create", json={"name": role, "workspace": "default"}
        )
        self.role_id = made["role"]["id"]
        permission = {"resource_type": "experiment", "resource_pattern": "*", "permission": "EDIT"}
        server.admin(
            "POST", "/api/3.0/mlflow/roles/permissions/add", json={"role_id": self.role_id, **permission}
        )
        assigned = {"role_id": self.role_id, "username": self.carol}
        server.admin("POST", "/api/3.0/mlflow/roles/assign", json=assigned)
        for kind, which in (("registered_model", self.model), ("experiment", self.experiment)):
            grant = {"resource_type": kind, "resource_id": which, "permission": "MANAGE"}
            server.admin(
                "POST",
                "/api/3.0/mlflow/users/permissions/grant",
                json={"username": self.carol, **grant},
            )

    def _grant(self, path: str, **which: str) -> None:
        grant = {"username": self.carol, "permission": "MANAGE", **which}
        self.server.admin("POST", path, json=grant)

    def rows(self) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
        return {name: self.server.every_row(name) for name in ("basic_auth.db", "mlflow.db")}

    def arguments(self) -> dict[str, Any]:
        """Whatever a handler may look for, so that it finds something to spoil."""
        return {
            "name": self.model,
            "new_name": f"stolen-{self.model}",
            "experiment_id": self.experiment,
            "workspace_name": "default",
            "workspace": "default",
            "username": self.carol,
            "user_id": "2",
            "password": "a-new-password-123",
            "is_admin": True,
            "role_id": self.role_id,
            "permission": "MANAGE",
            "resource_type": "experiment",
            "resource_pattern": "*",
            "resource_id": self.experiment,
        }


def test_the_three_that_wiped_every_grant(server: MlflowServer) -> None:
    """Answered with a redirect, each of these let MLflow's hooks loose on the permission store."""
    store = Store(server)
    before = store.rows()
    kept = ["role_permissions", "user_role_assignments"] if server.modern else ["experiment_permissions"]
    assert all(before["basic_auth.db"][table] for table in kept), "there is something to lose"
    statuses = []
    for headers in ({}, wire.NAVIGATION, wire.XHR):
        for base in ("/api/{}.0/mlflow", "/ajax-api/{}.0/mlflow"):
            rename = {"name": store.model, "new_name": f"stolen-{store.model}"}
            models = base.format(2) + "/registered-models"
            for method, path, body in (
                ("DELETE", base.format(3) + "/workspaces/default", None),
                ("POST", f"{models}/rename", rename),
                ("DELETE", f"{models}/delete", {"name": store.model}),
            ):
                statuses.append(server.call(method, path, json=body, headers=headers).status_code)
    assert store.rows() == before
    assert statuses == [401] * len(statuses)


def test_every_route_of_mlflow(server: MlflowServer) -> None:
    """No anonymous answer below 400 on any path that MLflow knows, by any method; not one row changes."""
    store = Store(server)
    before, arguments, wrong = store.rows(), store.arguments(), []
    for method, route in routes(server.version):
        path = filled(route)
        if path.startswith(PUBLIC) or path.endswith(PUBLIC_SUFFIX):
            continue
        for kind, headers in {"program": {}, "page": wire.NAVIGATION}.items():
            if kind == "page" and method != "GET":
                continue
            answer = server.call(method, path, headers=headers, params=arguments, json=arguments)
            expected = 302 if (method, path, kind) == ("GET", "/", "page") else 401
            if answer.status_code != expected or wire.set_cookie(answer) is not None:
                wrong.append(f"{method} {path} as {kind}: {answer.status_code}")
    assert store.rows() == before
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/2.0/mlflow/experiments/search",
        "/ajax-api/2.0/mlflow/runs/search",
        "/version",
        "/no/such/path",
        "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/x",
        "/v1/traces",
    ],
)
def test_a_program_is_told_in_json(server: MlflowServer, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, wire.XHR):
            said = wire.refusal(server.call(method, path, headers=headers), 401, "no_credentials")
            assert not MARKUP.search(said["message"])
            assert len(said["message"]) < 400


def test_the_challenge_names_no_fault(server: MlflowServer) -> None:
    """RFC 6750 3.1: where no credentials came there is nothing wrong with them."""
    (challenge,) = wire.every(server.call("GET", "/api/2.0/mlflow/experiments/search"), "WWW-Authenticate")
    assert "invalid_token" not in challenge
    assert "resource_metadata=" in challenge


def test_a_head_request(server: MlflowServer) -> None:
    for path in ("/", "/api/2.0/mlflow/experiments/search", "/no/such/path"):
        for headers in ({}, wire.NAVIGATION):
            assert server.call("HEAD", path, headers=headers).status_code == 401


def test_what_the_challenge_points_to(server: MlflowServer, provider: Provider) -> None:
    answer = server.call("GET", "/api/2.0/mlflow/experiments/search")
    (challenge,) = wire.every(answer, "WWW-Authenticate")
    found = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert found, challenge
    assert found[1].startswith(server.url + "/")
    metadata = wire.send("GET", found[1])
    assert metadata.status_code == 200, metadata.text
    said = metadata.json()
    assert said["authorization_servers"] == [provider.issuer]
    assert said["resource"].rstrip("/") == server.url
    assert said.get("bearer_methods_supported", ["header"]) == ["header"]


def test_what_is_public_stays_public(server: MlflowServer) -> None:
    assert server.call("GET", "/health").status_code == 200
    assert server.call("GET", "/health", headers=wire.NAVIGATION).text == "OK"


def test_what_people_see_in_python(server: MlflowServer, tmp_path: Path) -> None:
    """One readable line in a RestException; and no artifact that seems stored and is lost."""
    said = venvs.output(
        server.version,
        "anonymous_client.py",
        uuid.uuid4().hex,
        home=tmp_path,
        MLFLOW_TRACKING_URI=server.url,
    )
    seen = {what: (kind, text) for what, kind, text in json.loads(said.splitlines()[-1])}
    for what in (
        "search_experiments",
        "create_experiment",
        "get_run",
        "log_metric",
        "create_registered_model",
    ):
        kind, text = seen[what]
        assert kind == "RestException", f"{what}: {kind}: {text}"
        assert re.fullmatch(r"UNAUTHENTICATED: [^\n]+", text), f"{what}: {text}"
        assert not MARKUP.search(text), f"{what}: {text}"
    for what in ("log_artifact", "list_artifacts"):
        kind, text = seen[what]
        assert kind in ("HTTPError", "RestException", "MlflowException"), f"{what}: {kind}: {text}"
        assert "401" in text or "UNAUTHENTICATED" in text, f"{what}: {text}"
        assert "<html" not in text.lower()
    assert not list((server.folder / "artifacts").rglob("lost.txt"))


def test_nothing_of_ours_lies_where_mlflow_keeps_its_own(server: MlflowServer) -> None:
    """MLflow's migrations never meet a table that they do not know."""
    tables = set(server.every_row("basic_auth.db"))
    assert not [name for name in tables if "oidc" in name]
    with sqlite3.connect(f"file:{server.folder / 'basic_auth.db'}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
