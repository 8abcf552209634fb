"""Fixtures of the tests with real providers, and the record that docs/providers/README.md is written from.

Each test_PROVIDER.py brings the fixture `real`, for one provider or several versions of it; the rest is here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from support import chromium as browsers
from support import ports, venvs
from support.real import CAPABILITIES, PEOPLE, PROVIDERS, USERS, Homes, RealProvider
from support.server import MakeServer, MlflowServer

VERSION = "3.17.2"
RESULTS = PROVIDERS / "results"
Serve = Callable[[str, dict[str, str]], MlflowServer]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    yield from browsers.launched()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser that has never been here."""
    yield from browsers.fresh_context(chromium)


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[[], Page]]:
    """Each call is another browser that has never been here."""
    fresh = contextlib.contextmanager(browsers.fresh_context)
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(fresh(chromium)).new_page()


@pytest.fixture(scope="module")
def homes() -> Homes:
    """Taken before anything starts: the provider has to know where it may send people back to."""
    return Homes(*(f"http://127.0.0.1:{ports.free()}" for _ in range(2)))


def running(provider: RealProvider) -> Iterator[RealProvider]:
    """For the fixture `real` of a file: the provider, started and in the end stopped."""
    provider.require()
    venvs.require(VERSION)
    assert set(provider.lacks) <= set(CAPABILITIES), provider.lacks
    try:
        provider.start()
        yield provider
    finally:
        provider.stop()


@pytest.fixture(scope="module")
def serve(
    real: RealProvider, ending: Callable[[], contextlib.AbstractContextManager[MakeServer]]
) -> Iterator[Serve]:
    """Starts MLflow at one of the homes; all of them are stopped before the provider is."""

    def start(home: str, settings: dict[str, str]) -> MlflowServer:
        # The default of five seconds is only longer to wait for.
        settings = {"OIDC_USER_GROUP": USERS, "OIDC_SESSION_CACHE_SECONDS": "0", **settings}
        secrets = tuple(settings[name] for name in ("OIDC_CLIENT_SECRET",) if name in settings)
        port = int(home.rpartition(":")[2])
        return make(VERSION, real.issuer, settings=settings, port=port, secrets=secrets)

    with ending() as make:
        yield start


@pytest.fixture(scope="module")
def mlflow(real: RealProvider, homes: Homes, serve: Serve) -> MlflowServer:
    """MLflow with a client that has a secret."""
    return serve(homes.confidential, real.settings())


@pytest.fixture(scope="module")
def public_mlflow(real: RealProvider, homes: Homes, serve: Serve) -> MlflowServer:
    """MLflow with a client that has none."""
    return serve(homes.public, real.settings_of_public_client())


@pytest.fixture(autouse=True)
def capable(request: pytest.FixtureRequest) -> None:
    """Leaves out a case that needs what this provider cannot do, with the reason that its class names."""
    if "real" not in request.fixturenames:
        return
    real: RealProvider = request.getfixturevalue("real")
    for marker in request.node.iter_markers("needs"):
        for capability in marker.args:
            assert capability in CAPABILITIES, capability
            if capability in real.lacks:
                pytest.skip(f"not there: {real.lacks[capability]}")
    if "set_groups" not in real.lacks:
        for person in PEOPLE:
            real.set_groups(person, person.groups)


@dataclasses.dataclass
class Record:
    """What became of the cases of one provider in this run."""

    name: str
    version: str
    cases: list[dict[str, str]] = dataclasses.field(default_factory=list)


_records: dict[str, Record] = {}
_partial = False


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(capability, ...): what a provider must be able to do")


def pytest_deselected(items: list[pytest.Item]) -> None:
    """A part of the cases is no row of the table."""
    global _partial
    _partial = _partial or bool(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Notes pytest's own outcome; a failure comes with the end of the provider's log."""
    report = yield
    real = getattr(item, "funcargs", {}).get("real")
    if isinstance(real, RealProvider):
        _note(item, real, report)
        if report.failed:
            report.sections.append((f"log of {real.name}", real.log_tail()))
    return report


def _note(item: pytest.Item, real: RealProvider, report: pytest.TestReport) -> None:
    assert isinstance(item, pytest.Function)
    record = _records.setdefault(real.name, Record(real.name, real.version))
    shared = item.function.__module__.endswith("cases")
    words = [item.originalname.removeprefix("test_").replace("_", " ")]
    if hasattr(item, "callspec"):
        words += [str(value) for name, value in item.callspec.params.items() if name != "real"]
    case = {
        "group": "every provider" if shared else item.path.stem.removeprefix("test_"),
        "case": ": ".join(words),
        "outcome": report.outcome,
        "reason": str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else "",
    }
    known = [one for one in record.cases if (one["group"], one["case"]) == (case["group"], case["case"])]
    if not known:
        record.cases.append(case)
    elif known[0]["outcome"] == "passed":
        # Set-up, the test and its end are three reports; the worst of them counts.
        known[0].update(case)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One file for each provider that went through all of its cases."""
    named = any("::" in argument for argument in session.config.args)
    if _partial or named or session.shouldstop or session.shouldfail:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for record in _records.values():
        said = {**dataclasses.asdict(record), "mlflow": VERSION, "date": time.strftime("%Y-%m-%d")}
        (RESULTS / f"{record.name}.json").write_text(json.dumps(said, indent=1) + "\n")
