"""The table of MLflow releases with faults of their own, and the one line that a worker writes of it."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from mlflow_oidc import early
from support import venvs

SHOW = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(message)s")
from mlflow_oidc import releases
assert "mlflow" not in sys.modules, "the table must be there where MLflow does not start"
releases.warn(sys.argv[1])
for fault in releases.faults(sys.argv[1]):
    print(fault.seen, "|", fault.way_out)
"""


def _told(home: Path, version: str, server: str) -> tuple[str, str]:
    """(what the table says, what the log says) of a version under a server."""
    done = subprocess.run(
        [str(venvs.program("3.17.2", "python")), "-c", SHOW, version],
        cwd=home,
        env={**venvs.environment("3.17.2", home), "_MLFLOW_SGI_NAME": server},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("version", "server", "seen", "way_out"),
    [
        ("3.16.0", "uvicorn", "403 on GET /", "3.16.1"),
        ("2.22.5", "", "500 on /graphql", "3.0.0"),
        ("3.9.0", "uvicorn", "no permission checks", "--gunicorn-opts"),
    ],
)
def test_a_worker_warns_in_one_line(
    tmp_path: Path, version: str, server: str, seen: str, way_out: str
) -> None:
    venvs.require("3.17.2")
    _, log = _told(tmp_path, version, server)
    (line,) = log.splitlines()
    assert line.startswith(f"WARNING MLflow {version} has faults of its own: ")
    assert seen in line
    assert way_out in line


@pytest.mark.parametrize(
    ("version", "server"),
    [("3.17.2", "uvicorn"), ("3.14.0", "uvicorn"), ("3.15.0.dev0", "uvicorn"), ("3.16.1", "gunicorn")],
)
def test_others_are_not_warned_of(tmp_path: Path, version: str, server: str) -> None:
    venvs.require("3.17.2")
    assert _told(tmp_path, version, server) == ("", "")


def test_what_never_comes_as_far_as_us_is_in_the_table(tmp_path: Path) -> None:
    """MLflow 3.3 answers 500 to everything under uvicorn, so no worker of it can warn of that."""
    venvs.require("3.17.2")
    table, log = _told(tmp_path, "3.3.1", "uvicorn")
    assert "500 on every page" in table
    assert "--gunicorn-opts" in table
    assert "500 on every page" not in log


def test_what_is_there_under_uvicorn_alone(tmp_path: Path) -> None:
    venvs.require("3.17.2")
    _, log = _told(tmp_path, "3.9.0", "gunicorn")
    assert "permission checks" not in log


def test_the_page_is_the_table() -> None:
    """docs/compatibility.md says to people what releases.py says to workers."""
    venvs.require("3.17.2")
    page = (venvs.REPOSITORY / "docs" / "compatibility.md").read_text()
    show = "from mlflow_oidc import releases; print([list(fault) for fault in releases.FAULTS])"
    done = subprocess.run(
        [str(venvs.program("3.17.2", "python")), "-c", show], capture_output=True, text=True, check=True
    )
    rows = ast.literal_eval(done.stdout)
    assert len(rows) > 5
    for first, last, seen, way_out, server, _ in rows:
        begin, end = (".".join(map(str, version)) for version in (first, last))
        versions = begin if begin == end else f"{begin} to {end}"
        assert f"| {versions} | {server or 'any'} | {seen} | {way_out} |" in page


@pytest.mark.parametrize(
    ("version", "release"),
    [("3.8.1", "3.8.1"), ("3.8.1+corp.2", "3.8.1"), ("3.8.1.post1", "3.8.1"), ("3.8.1rc0", "3.8.1rc0")],
)
def test_a_rebuilt_release_is_the_release(version: str, release: str) -> None:
    """Else its native routes would be open to anybody. A release candidate is none that the hook knows."""
    assert early._release(version) == release
    assert (early._release(version) in early.NATIVE_CHECKS) is (release == "3.8.1")
