"""Programs with a token, with MLflow's own password, and without anything."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from matrix import Cell

from support import venvs, wire
from support.cells import since
from support.provider import Provider
from support.server import ADMIN, MlflowServer

Person = Callable[..., str]

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


def test_a_bearer_on_a_flask_route(plain: MlflowServer, provider: Provider, person: Person) -> None:
    alice = person("alice")
    assert plain.call("GET", EXPERIMENTS, token=provider.bearer(alice)).status_code == 200
    assert plain.is_admin(f"{alice}@example.org") is False
    late = provider.bearer(alice, exp=1_700_000_000)
    wire.refusal(plain.call("GET", EXPERIMENTS, token=late), 401)


@pytest.mark.parametrize("path", ["/", EXPERIMENTS, "/version", "/no/such/path", "/v1/traces"])
def test_a_program_without_a_token_is_told_in_json(plain: MlflowServer, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        wire.refusal(plain.call(method, path), 401, "no_credentials")


def test_mlflows_own_users_keep_their_passwords(plain: MlflowServer) -> None:
    assert plain.call("GET", EXPERIMENTS, auth=ADMIN).status_code == 200
    assert plain.call("GET", EXPERIMENTS, auth=(ADMIN[0], "wrong")).status_code == 401


def test_mlflows_client_logs_a_run_and_its_artifact(
    plain: MlflowServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    """log_artifact too: a redirect there would be a success with the data lost."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    said = venvs.output(
        plain.version,
        "log_run.py",
        name,
        home=tmp_path,
        MLFLOW_TRACKING_URI=plain.url,
        MLFLOW_TRACKING_TOKEN=provider.bearer(person("alice")),
    )
    seen = json.loads(said.splitlines()[-1])
    assert seen["params"] == {"depth": "3"}
    assert seen["metrics"] == {"loss": 0.5}
    assert seen["artifacts"] == ["models/model.bin"]
    assert seen["same_bytes"] is True
    assert seen["model"] == f"{name}-renamed"
    assert seen["traces"] == (1 if plain.modern else None)


def test_a_plain_user_searches_runs(
    cell: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    """Before 3.6 MLflow shows what the user may not read as well; its own fault, and no matter of ours."""
    alice, bob = provider.bearer(person("alice")), person("bob")
    made = plain.call(
        "POST", "/api/2.0/mlflow/experiments/create", token=alice, json={"name": uuid.uuid4().hex}
    )
    experiment = made.json()["experiment_id"]
    run = {"experiment_id": experiment, "start_time": 1}
    assert plain.call("POST", "/api/2.0/mlflow/runs/create", token=alice, json=run).status_code == 200
    of_bob = provider.bearer(bob)
    assert plain.call("GET", EXPERIMENTS, token=of_bob).status_code == 200
    grant = {"username": f"{bob}@example.org", "permission": "NO_PERMISSIONS", "experiment_id": experiment}
    if since(cell, "3.13.0"):
        # Where there is nothing to take away any more: reading is everybody's by default_permission.
        expected = 1
    else:
        plain.admin("POST", "/api/2.0/mlflow/experiments/permissions/create", json=grant)
        expected = 0 if since(cell, "3.6.0") else 1
    for token, seen in ((alice, 1), (of_bob, expected)):
        search = {"experiment_ids": [experiment], "max_results": 10}
        found = plain.call("POST", "/api/2.0/mlflow/runs/search", token=token, json=search)
        assert found.status_code == 200, found.text
        assert len(found.json().get("runs", [])) == seen
