"""The virtual environments that `make test` builds: one per MLflow version, each with the built wheel."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

VERSIONS = ("3.17.2", "2.22.5", "2.9.2")
REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


def folder() -> Path:
    return Path(os.environ.get("MLFLOW_OIDC_VENVS") or REPOSITORY / "build" / "venv")


def program(version: str, name: str) -> Path:
    return folder() / f"mlflow-{version}" / "bin" / name


def require(version: str) -> None:
    """A missing environment is a clear skip for a developer, and never one for CI."""
    if program(version, "mlflow").exists():
        return
    told = f"no MLflow {version} in {folder()}: `make test-python` puts it there"
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


def environment(version: str, home: Path) -> dict[str, str]:
    """What every child process starts from: nothing of this machine but where programs are."""
    return {
        "PATH": f"{program(version, 'mlflow').parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        # MLflow's telemetry would leave the machine.
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def run(
    version: str, script: str, *arguments: str, home: Path, timeout: float = 120, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A program of tests/python/programs in that version's environment, as a user would run it."""
    return subprocess.run(
        [str(program(version, "python")), str(PROGRAMS / script), *arguments],
        cwd=home,
        env={**environment(version, home), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def output(version: str, script: str, *arguments: str, home: Path, **variables: Any) -> str:
    done = run(version, script, *arguments, home=home, **variables)
    assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def template(version: str) -> Path:
    """Both databases of that version, migrated, with the administrator: made once, copied to each server.

    MLflow before 3.16.1 migrates in every worker at once, and two workers on an empty database can kill each
    other; that race is MLflow's and no matter of these tests.
    """
    from support.server import ADMIN

    made = Path(tempfile.mkdtemp(prefix=f"mlflow-{version}-template-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    output(version, "make_databases.py", *ADMIN, home=made)
    return made
