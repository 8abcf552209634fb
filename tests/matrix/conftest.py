"""The cells of the matrix: two real servers each, one plain with two workers, one below a prefix behind TLS.

`MLFLOW_OIDC_MATRIX` chooses the cells (tools/matrix.py). What each case came to is kept for the table.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from typing import Any

import matrix
import pytest
from matrix import Cell

from support import venvs
from support.cells import ABSENT, JOBS_TOKEN, PUBLIC, has_natives, not_there, since
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

CELLS = matrix.chosen(os.environ.get("MLFLOW_OIDC_MATRIX", "spread"))
_results: matrix.Results = {}
_kept = False


@pytest.fixture(scope="session", params=CELLS, ids=[cell.name for cell in CELLS])
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    """Which MLflow, on which Python, under which server."""
    venvs.require(request.param.environment)
    yield request.param
    _keep()


@pytest.fixture(scope="session")
def natives(cell: Cell) -> Cell:
    """A cell that has native routes."""
    if not has_natives(cell):
        not_there("before MLflow 3.4, and under gunicorn, there are no routes beside Flask's")
    return cell


def _more(cell: Cell) -> list[str]:
    return ["--gunicorn-opts", "--timeout 60"] if cell.server == "gunicorn" and since(cell, "3.4.0") else []


@pytest.fixture(scope="session")
def plain(cell: Cell, server_factory: MakeServer, provider: Provider) -> Iterator[MlflowServer]:
    """Two workers, the five original variables, and a token for MLflow's own jobs."""
    settings = settings_for(
        provider.issuer,
        OIDC_SESSION_CACHE_SECONDS="2",
        OIDC_ROLES="matrix =\n    group matrix-writers\n    experiment * EDIT",
        # So that a Host header of any kind comes as far as us.
        MLFLOW_SERVER_ALLOWED_HOSTS="*",
        # From 3.17 on MLflow's gateway asks no model on loopback unless it is told.
        MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES="http,https",
        MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS="true",
        # MLflow makes one when it runs jobs, which are several processes more.
        _MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN=JOBS_TOKEN,
    )
    running = server_factory(
        cell.environment,
        provider.issuer,
        workers=2,
        settings=settings,
        more=_more(cell),
        secrets=(JOBS_TOKEN,),
    )
    yield running
    running.stop()


@pytest.fixture(scope="session")
def behind(cell: Cell, server_factory: MakeServer, provider: Provider) -> Iterator[MlflowServer]:
    """Below `/ml`, found at `PUBLIC` through a proxy that ends TLS; with workspaces from 3.10 on."""
    settings = settings_for(
        provider.issuer,
        OIDC_PUBLIC_URL=PUBLIC,
        MLFLOW_SERVER_ALLOWED_HOSTS="mlflow.example,127.0.0.1:*",
        MLFLOW_SERVER_CORS_ALLOWED_ORIGINS="https://mlflow.example",
        MLFLOW_ENABLE_WORKSPACES=str(since(cell, "3.10.0")).lower(),
    )
    running = server_factory(
        cell.environment, provider.issuer, prefix="/ml", settings=settings, more=_more(cell)
    )
    yield running
    running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Keeps the outcome by cell and case; a case that failed once has failed."""
    report = yield
    cell = getattr(item, "callspec", None) and item.callspec.params.get("cell")
    if cell is None or (report.when != "call" and report.outcome == "passed"):
        return report
    case = item.originalname.removeprefix("test_").replace("_", " ")
    outcome, reason = report.outcome, ""
    if outcome == "skipped":
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not reason.startswith(ABSENT):
            return report
        outcome, reason = "not there", reason.removeprefix(ABSENT)
    if report.when == "teardown":
        case = "what the servers leave behind is clean"
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    cases = _results.setdefault(cell.name, {"day": today, "cases": {}})["cases"]
    if cases.get(case, ["passed"])[0] == "passed":
        cases[case] = [outcome, reason]
    return report


def pytest_sessionfinish() -> None:
    """The last cell's servers have ended by now."""
    _keep()


def pytest_configure(config: pytest.Config) -> None:
    """A part of the cases is no row of the table."""
    global _kept
    _kept = "MLFLOW_OIDC_MATRIX" in os.environ and not config.option.keyword


def _keep() -> None:
    if _kept and _results:
        matrix.write(_results)
