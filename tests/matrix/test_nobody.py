"""Nobody in particular: what MLflow's hooks would do to the permission store if they were let loose."""

from __future__ import annotations

import uuid
from typing import Any

from matrix import Cell

from support import wire
from support.cells import since
from support.server import MlflowServer
from test_anonymous import PUBLIC, PUBLIC_SUFFIX, filled, routes


def _rows(server: MlflowServer) -> dict[str, Any]:
    return {name: server.every_row(name) for name in ("basic_auth.db", "mlflow.db")}


def _store_with_something_in_it(cell: Cell, server: MlflowServer) -> dict[str, Any]:
    """A user with grants; what a handler may look for is returned, so that it finds something to spoil."""
    mark = uuid.uuid4().hex[:8]
    carol, model = f"carol-{mark}", f"model-{mark}"
    password = "a-password-of-her-own-123"
    server.admin("POST", "/api/2.0/mlflow/users/create", json={"username": carol, "password": password})
    made = server.admin("POST", "/api/2.0/mlflow/experiments/create", json={"name": f"experiment-{mark}"})
    server.admin("POST", "/api/2.0/mlflow/registered-models/create", json={"name": model})
    experiment = made["experiment_id"]
    for kind, which in (("registered_model", model), ("experiment", experiment)):
        grant = {"username": carol, "permission": "MANAGE"}
        if since(cell, "3.13.0"):
            grant |= {"resource_type": kind, "resource_id": which}
            server.admin("POST", "/api/3.0/mlflow/users/permissions/grant", json=grant)
        else:
            grant |= {"name" if kind == "registered_model" else "experiment_id": which}
            path = f"/api/2.0/mlflow/{kind.replace('_', '-')}s/permissions/create"
            server.admin("POST", path, json=grant)
    if since(cell, "3.12.0"):
        role = {"name": f"role-{mark}", "workspace": "default"}
        made = server.admin("POST", "/api/3.0/mlflow/roles/create", json=role)
        assigned = {"role_id": made["role"]["id"], "username": carol}
        server.admin("POST", "/api/3.0/mlflow/roles/assign", json=assigned)
    return {
        "name": model,
        "new_name": f"stolen-{model}",
        "experiment_id": experiment,
        "workspace_name": "default",
        "username": carol,
        "password": "a-new-password-123",
        "is_admin": True,
        "permission": "MANAGE",
    }


def test_nobody_changes_a_grant(cell: Cell, plain: MlflowServer) -> None:
    """Answered with a redirect, each of these wiped grants: measured on 3.17.2, there in part since 2.20."""
    there = _store_with_something_in_it(cell, plain)
    before, statuses = _rows(plain), []
    rename = {"name": there["name"], "new_name": there["new_name"]}
    for headers in ({}, wire.NAVIGATION, wire.XHR):
        for api in ("api", "ajax-api"):
            models = f"/{api}/2.0/mlflow/registered-models"
            for method, path, body in (
                ("DELETE", f"/{api}/3.0/mlflow/workspaces/default", None),
                ("POST", f"{models}/rename", rename),
                ("DELETE", f"{models}/delete", {"name": there["name"]}),
            ):
                statuses.append(plain.call(method, path, json=body, headers=headers).status_code)
    assert _rows(plain) == before
    assert statuses == [401] * len(statuses)


def test_every_route_refuses_nobody(cell: Cell, plain: MlflowServer) -> None:
    """Flask's and the native ones, as this MLflow lists them itself; not one row changes."""
    there = _store_with_something_in_it(cell, plain)
    before, wrong = _rows(plain), []
    known = routes(plain.version)
    assert len(known) > 100
    natives = {
        "3.4.0": "/v1/traces",
        "3.5.0": "/ajax-api/3.0/jobs/{job_id}",
        "3.9.0": "/gateway/mlflow/v1/chat/completions",
    }
    for version, path in natives.items():
        assert not since(cell, version) or path in {path for _, path in known}
    for method, route in known:
        path = filled(route)
        # tests/python asks for HEAD and OPTIONS on every route, too.
        if path.startswith(PUBLIC) or path.endswith(PUBLIC_SUFFIX) or method in ("HEAD", "OPTIONS"):
            continue
        answer = plain.call(method, path, params=there, json=there)
        if answer.status_code != 401 or wire.set_cookie(answer) is not None:
            wrong.append(f"{method} {path}: {answer.status_code}")
    assert _rows(plain) == before
    assert not wrong, "\n".join(wrong)
