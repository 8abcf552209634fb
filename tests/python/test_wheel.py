"""The built wheel is what all of this runs: not the source tree, and importing it does nothing yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import venvs
from support.server import MlflowServer


@pytest.fixture(scope="module")
def imported(version: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    said = venvs.output(version, "import_wheel.py", home=tmp_path_factory.mktemp("import"))
    seen: dict[str, Any] = json.loads(said.splitlines()[-1])
    return seen


def test_it_is_the_wheel(imported: dict[str, Any]) -> None:
    source = venvs.REPOSITORY / "python"
    for file in imported["files"]:
        assert source not in Path(file).parents, file
    assert imported["files"][2].endswith(".abi3.so")
    assert imported["same_function"] is True


def test_importing_starts_nothing(imported: dict[str, Any]) -> None:
    """Workers are forked after it: a thread or a connection made here would be half of one there."""
    assert imported["threads"] == 1
    assert imported["databases"] == []
    # MLflow's auth module reads its configuration and makes its app when it is imported.
    assert "mlflow.server.auth" not in imported["modules"]


def test_the_function_is_found_by_every_worker(server: MlflowServer) -> None:
    """A wrong name in basic_auth.ini would be seen only at the first guarded request, as a 500."""
    for index in range(server.workers):
        with server.only_worker(index):
            assert server.call("GET", "/api/2.0/mlflow/experiments/search").status_code == 401
