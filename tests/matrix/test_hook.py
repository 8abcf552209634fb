"""The hook by itself: when it does something, when it leaves everything alone, and how it fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from matrix import Cell

from support import venvs
from support.cells import is_guarded_by_us, not_there, since
from support.server import FUNCTION, SESSION_SECRET, settings_for, write_ini

MLFLOWS_OWN = "mlflow.server.auth:authenticate_request_basic_auth"


@pytest.fixture
def guarded(cell: Cell) -> Cell:
    """A cell whose native routes it is ours to guard."""
    if not is_guarded_by_us(cell):
        not_there("the hook is for MLflow 3.4 to 3.14 under uvicorn")
    return cell


def _made(cell: Cell, folder: Path, *arguments: str, function: str = FUNCTION) -> tuple[Any, str]:
    """What tests/python/programs/made_app.py says, and its log."""
    ini = write_ini(folder, function)
    done: subprocess.CompletedProcess[str] = venvs.run(
        cell.environment,
        "made_app.py",
        *arguments,
        home=folder,
        MLFLOW_AUTH_CONFIG_PATH=str(ini),
        MLFLOW_FLASK_SERVER_SECRET_KEY=SESSION_SECRET,
        MLFLOW_TRACKING_URI="sqlite:///mlflow.db",
        # Nobody answers there, and nobody has to.
        **settings_for("http://127.0.0.1:9"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def test_a_client_has_nothing_of_it(cell: Cell, tmp_path: Path) -> None:
    """mlflow-oidc stands beside clients too: there it is one small module that imports nothing."""
    said = json.loads(venvs.output(cell.environment, "client_process.py", home=tmp_path).splitlines()[-1])
    assert said["version"] == cell.version
    assert said["ours"] == ["mlflow_oidc", "mlflow_oidc.early"]
    assert said["server"] == []
    assert said["tags"] == []


def test_it_is_there_before_the_auth_app(guarded: Cell, tmp_path: Path) -> None:
    """Also where something else has imported its module before MLflow."""
    said, log = _made(guarded, tmp_path, "uvicorn", "imported-first")
    assert (said["loaded_early"], said["active"], said["kind"]) == (True, True, "FastAPI")
    assert said["answers"][0][0] == 401
    assert json.loads(said["answers"][0][1])["code"] == "no_credentials"
    assert "mlflow-oidc guards the native routes" in log


def test_another_function_is_left_alone(guarded: Cell, tmp_path: Path) -> None:
    said, log = _made(guarded, tmp_path, "uvicorn", function=MLFLOWS_OWN)
    assert said["active"] is False
    # Up to 3.9 MLflow lets anybody in here (and finds no span), from 3.10 on it asks for a password.
    assert said["answers"][0][0] == (401 if since(guarded, "3.10.0") else 400)
    assert "You are not authenticated" in said["answers"][0][1] or not since(guarded, "3.10.0")
    assert "mlflow-oidc" not in log


def test_under_gunicorn_it_does_nothing(guarded: Cell, tmp_path: Path) -> None:
    said, log = _made(guarded, tmp_path, "gunicorn")
    assert (said["active"], said["kind"]) == (False, "Flask")
    assert "native routes" not in log


def test_other_versions_are_left_alone(cell: Cell, tmp_path: Path) -> None:
    if since(cell, "3.4.0") and not since(cell, "3.15.0"):
        not_there("this is one of the versions of the hook")
    said, log = _made(cell, tmp_path, cell.server)
    assert (said["active"], said["patched"]) == (False, False)
    assert "native routes" not in log


def test_what_it_does_not_know_it_refuses(guarded: Cell, tmp_path: Path) -> None:
    """An MLflow that has been changed: nobody gets to a native route, and the log says why."""
    name = "_find_fastapi_validator" if since(guarded, "3.9.0") else "get_auth_func"
    said, log = _made(guarded, tmp_path, "uvicorn", name)
    status, body = said["answers"][0]
    assert status == 500
    assert json.loads(body)["error_code"] == "INTERNAL_ERROR"
    assert f"does not know this mlflow.server.auth without {name}: its native routes are refused" in log


def test_a_worker_without_it_says_so(guarded: Cell, tmp_path: Path) -> None:
    """A wheel that is on the path and not installed has no entry point."""
    said, log = _made(guarded, tmp_path, "uvicorn", "without-hook")
    assert said["active"] is False
    assert (
        f"ERROR mlflow.oidc: mlflow-oidc does not guard the native routes of MLflow {guarded.version}" in log
    )
