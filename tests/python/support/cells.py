"""What the tests of the matrix ask of a cell: which MLflow it is, and what that one has."""

from __future__ import annotations

from typing import NoReturn

import pytest
from matrix import Cell

# Where people find the server of a cell that stands below a path behind a TLS proxy.
PUBLIC = "https://mlflow.example/ml"
JOBS_TOKEN = "the-token-of-mlflows-own-jobs-0123456789"
ABSENT = "not there: "


def numbers(version: str) -> tuple[int, ...]:
    """A version to compare."""
    return tuple(int(part) for part in version.split("."))


def since(cell: Cell, version: str) -> bool:
    """Whether this cell's MLflow is that one or newer."""
    return numbers(cell.version) >= numbers(version)


def has_natives(cell: Cell) -> bool:
    """Whether this server has routes that never pass Flask."""
    return cell.server == "uvicorn" and since(cell, "3.4.0")


def is_guarded_by_us(cell: Cell) -> bool:
    """Whether it is our hook that guards them."""
    return has_natives(cell) and not since(cell, "3.15.0")


def not_there(reason: str) -> NoReturn:
    """Ends a test of something that this cell has not; the table says why."""
    pytest.skip(ABSENT + reason)
