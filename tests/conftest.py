"""Fixtures of both suites: the provider, the matrix of servers, and servers made for one test.

A session-scoped parametrised fixture is torn down before the next parameter's is made, so one server of the
matrix runs at a time and its tests are run together.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import behind, databases, venvs
from support.behind import Behind
from support.browser import Browser
from support.engines import Engines
from support.provider import CLIENT_SECRET, Provider
from support.server import PUBLIC, MakeServer, MlflowServer, settings_for

RUNNING: list[MlflowServer] = []


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> None:
    """A proxy of the machine is never meant: everything here is on 127.0.0.1."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def databases_end() -> Iterator[None]:
    """Whoever needs a PostgreSQL or a MariaDB starts it; it runs until the end."""
    yield
    databases.end()


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    running = Provider().start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def server_factory(tmp_path_factory: pytest.TempPathFactory) -> MakeServer:
    """Starts a server; whoever calls it stops it."""

    def make(version: str, issuer: str, *, wait: bool = True, **arguments: Any) -> MlflowServer:
        venvs.require(version)
        settings = arguments.pop("settings", None)
        folder = arguments.pop("folder", None) or tmp_path_factory.mktemp(f"mlflow-{version}-")
        arguments["secrets"] = (CLIENT_SECRET, *arguments.get("secrets", ()))
        made = MlflowServer(
            version, folder, settings=settings_for(issuer) if settings is None else settings, **arguments
        )
        RUNNING.append(made)
        return made.start(wait)

    return make


def _ended(server: MlflowServer) -> None:
    RUNNING.remove(server)
    server.stop()


def _ending(server_factory: MakeServer) -> Iterator[MakeServer]:
    """The factory, for a time after which everything that it started is stopped."""
    mine: list[MlflowServer] = []

    def make(*arguments: Any, **named: Any) -> MlflowServer:
        known = len(RUNNING)
        try:
            return server_factory(*arguments, **named)
        finally:
            mine.extend(RUNNING[known:])

    yield make
    faults = []
    for server in mine:
        try:
            _ended(server)
        except AssertionError as fault:
            faults.append(str(fault))
    assert not faults, "\n\n".join(faults)


@pytest.fixture(scope="session")
def ending(server_factory: MakeServer) -> Callable[[], contextlib.AbstractContextManager[MakeServer]]:
    """The factory for the time of a `with`, for fixtures whose time is no test, file or session."""
    return contextlib.contextmanager(lambda: _ending(server_factory))


@pytest.fixture
def make_server(server_factory: MakeServer) -> Iterator[MakeServer]:
    """Servers of one test."""
    yield from _ending(server_factory)


@pytest.fixture(scope="module")
def make_module_server(server_factory: MakeServer) -> Iterator[MakeServer]:
    """Servers of one file, where starting one for each test would cost minutes."""
    yield from _ending(server_factory)


@pytest.fixture(scope="module")
def here(
    make_module_server: MakeServer, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    """Two servers behind nginx, with TLS and a path."""
    with behind.two_servers(make_module_server, provider, tmp_path_factory.mktemp("nginx")) as made:
        yield made


MATRIX = list(itertools.product(venvs.VERSIONS, (1, 2)))


@pytest.fixture(scope="session", params=MATRIX, ids=[f"mlflow{v}-{w}w" for v, w in MATRIX])
def server(
    request: pytest.FixtureRequest, server_factory: MakeServer, provider: Provider
) -> Iterator[MlflowServer]:
    """The matrix: every version with one worker and with two, the five original variables and two more."""
    version, workers = request.param
    settings = settings_for(
        provider.issuer,
        OIDC_AUDIENCE="mlflow-api",
        # The default of five seconds is only longer to wait for.
        OIDC_SESSION_CACHE_SECONDS="2",
    )
    running = server_factory(version, provider.issuer, workers=workers, settings=settings)
    yield running
    _ended(running)


@pytest.fixture(scope="session", params=venvs.VERSIONS, ids=[f"mlflow{v}" for v in venvs.VERSIONS])
def version(request: pytest.FixtureRequest) -> str:
    """For tests that need a server of their own making."""
    venvs.require(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def secure(version: str, server_factory: MakeServer, provider: Provider) -> Iterator[MlflowServer]:
    """The strict one: behind a TLS proxy, no passwords, clocks that agree, no session remembered."""
    settings = settings_for(
        provider.issuer,
        OIDC_PUBLIC_URL=PUBLIC,
        OIDC_BASIC_AUTH="false",
        OIDC_SESSION_LIFETIME="10m",
        OIDC_CLOCK_SKEW_SECONDS="0",
        OIDC_SESSION_CACHE_SECONDS="0",
        # MLflow 3 has to be told, too: its own guards refuse another host, and another origin's writes.
        MLFLOW_SERVER_ALLOWED_HOSTS="mlflow.example,127.0.0.1:*",
        MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=PUBLIC,
    )
    running = server_factory(version, provider.issuer, settings=settings)
    yield running
    _ended(running)


GUARDED = ("3.17.2", "2.9.2")


@pytest.fixture(scope="session", params=GUARDED, ids=[f"mlflow{v}" for v in GUARDED])
def guarded(
    request: pytest.FixtureRequest, server_factory: MakeServer, provider: Provider
) -> Iterator[Engines]:
    """The newest version and the oldest with MLflow's own guards, for tables of many hundred rows."""

    def make(*arguments: Any, settings: dict[str, str], **named: Any) -> MlflowServer:
        settings = {**settings, "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false"}
        return server_factory(*arguments, settings=settings, **named)

    engines = Engines(make, request.param, provider.issuer)
    yield engines
    _ended(engines.server)


@pytest.fixture
def browser(server: MlflowServer) -> Browser:
    return Browser(server)


_people = itertools.count(1)


@pytest.fixture
def person(provider: Provider) -> Callable[..., str]:
    """Makes a person whom no server has seen: the name is then `<subject>@example.org`."""

    def make(name: str = "alice", **claims: Any) -> str:
        subject = f"{name}-{next(_people)}"
        provider.put_user(subject, **claims)
        return subject

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure comes with the end of every running server's log."""
    report = yield
    if report.failed:
        for running in RUNNING:
            title = f"log of mlflow {running.version} with {running.workers} worker(s)"
            report.sections.append((title, running.log_tail()))
    return report
