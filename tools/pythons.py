"""Finds a Python interpreter on this machine: the one that runs us, or an older one for an older MLflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The oldest Python that we promise to work on; the older MLflows are tried on it where it is found.
FLOOR = (3, 10)


class NoPython(Exception):
    """There is no fitting interpreter; the text says what would fit and where it was looked for."""


@dataclass(frozen=True)
class Python:
    """An interpreter that answered."""

    path: Path
    version: tuple[int, int]
    label: str


def find(newest: tuple[int, int] | None, oldest: tuple[int, int] = FLOOR) -> Python:
    """The interpreter that runs us, or one from `oldest` to `newest`, the oldest first."""
    if newest is None:
        return asked(Path(sys.executable)) or _refuse("Python", FLOOR, FLOOR)
    for candidate in candidates(oldest, newest):
        python = asked(candidate)
        if python and oldest <= python.version <= newest:
            return python
    return _refuse("No Python", oldest, newest)


def candidates(oldest: tuple[int, int], newest: tuple[int, int]) -> Iterator[Path]:
    """Where one may be: named by hand, on the PATH, among pyenv's versions, and the one that runs us."""
    named = os.environ.get("OLD_PYTHON")
    if named:
        yield Path(named)
    for minor in range(oldest[1], newest[1] + 1):
        on_path = shutil.which(f"python3.{minor}")
        if on_path:
            yield Path(on_path)
        pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
        yield from sorted(pyenv.glob(f"3.{minor}.*/bin/python3"), reverse=True)
    yield Path(sys.executable)


def asked(path: Path) -> Python | None:
    """What an interpreter says of itself. A pyenv shim of a version that is not switched on says nothing."""
    question = "import sys, venv, ensurepip; print(sys.executable, *sys.version_info[:3], sep='\\n')"
    try:
        answer = subprocess.run(
            [str(path), "-I", "-c", question], capture_output=True, text=True, timeout=60, check=True
        )
        executable, major, minor, patch = answer.stdout.splitlines()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Python(Path(executable), (int(major), int(minor)), f"Python {major}.{minor}.{patch}")


def _refuse(what: str, oldest: tuple[int, int], newest: tuple[int, int]) -> Python:
    wanted = " or ".join(f"3.{minor}" for minor in range(oldest[1], newest[1] + 1))
    named = f"OLD_PYTHON=/path/to/python3.{oldest[1]}"
    raise NoPython(f"{what} {wanted} on the PATH or among pyenv's (name one with {named}).")
