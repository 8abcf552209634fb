"""The provider is asked again about who is signed in, and it hangs or is gone: nobody is out for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import bench as benches_of
from support import faults
from support.bench import EXPERIMENTS, Bench, on_each
from support.browser import Browser
from support.server import MakeServer

PERIOD = 10
TIMEOUT = 8
PEOPLE = 100
# What a hundred requests at once may take on a busy machine where none waits for the provider.
QUICK = 6.0
OWN_DATABASE = "basic_auth.db-oidc"


@pytest.fixture(scope="module")
def benches(make_module_server: MakeServer, tmp_path_factory: pytest.TempPathFactory) -> list[Bench]:
    return benches_of.both_with_threads(make_module_server, tmp_path_factory.mktemp("bundles"))


def all_at_once(browsers: list[Browser]) -> list[tuple[int, str, float]]:
    """Status, code and seconds of one call by each of them."""

    def call(browser: Browser) -> tuple[int, str, float]:
        started = time.monotonic()
        answer = browser.xhr("GET", EXPERIMENTS)
        code = "" if answer.status_code == 200 else answer.json()["code"]
        return answer.status_code, code, time.monotonic() - started

    with ThreadPoolExecutor(len(browsers)) as pool:
        return list(pool.map(call, browsers))


def oldest_word(bench: Bench, people: str) -> float:
    """How many seconds ago the provider has vouched for the session of them that has waited longest."""
    query = "SELECT min(checked_at) FROM oidc_sessions WHERE subject LIKE ?"
    ((checked_at,),) = bench.server.rows(query, f"{people}-%", database=OWN_DATABASE)
    return time.time() - float(checked_at)


def test_a_hundred_browsers_and_a_provider_that_hangs(benches: list[Bench]) -> None:
    """Some wait for it once, none for a second time, and when it is back all are asked about."""

    def run(bench: Bench) -> None:
        bench.provider.refreshes = True
        bench.fresh(OIDC_SESSION_RECHECK=f"{PERIOD}s", OIDC_HTTP_TIMEOUT=str(TIMEOUT))
        browsers = [bench.login(subject=f"person-{number}") for number in range(PEOPLE)]
        try:
            # All of them come back from a pause, so that nobody was asked about ahead.
            time.sleep(PERIOD + 1)
            bench.provider.faults["token"] = faults.hang
            first = all_at_once(browsers)
            assert {(status, code) for status, code, _ in first} <= {
                (200, ""),
                (503, "provider_busy"),
                (503, "provider_pending"),
            }
            assert max(seconds for _, _, seconds in first) < TIMEOUT + QUICK
            for _ in range(4):
                again = all_at_once(browsers)
                assert {status for status, _, _ in again} == {200}, again
                assert max(seconds for _, _, seconds in again) < QUICK, again
                time.sleep(1)
        finally:
            bench.provider.mend()
        assert bench.log().count("the provider cannot be asked about sessions") == 1
        deadline = time.monotonic() + 90
        # A refresh that hung may have spent its token: who was asked about then signs in anew.
        while oldest_word(bench, "person") > PERIOD:
            assert time.monotonic() < deadline, oldest_word(bench, "person")
            assert {status for status, _, _ in all_at_once(browsers)} <= {200, 503}
            time.sleep(0.5)

    on_each(benches, run)


def test_a_provider_that_is_gone_for_a_while_signs_nobody_out(benches: list[Bench]) -> None:
    def run(bench: Bench) -> None:
        bench.provider.refreshes = True
        bench.fresh(OIDC_SESSION_RECHECK="4s", OIDC_HTTP_TIMEOUT=str(TIMEOUT))
        browsers = [bench.login(subject=f"lasting-{number}") for number in range(5)]
        for place in ("discovery", "keys", "token", "userinfo"):
            bench.provider.faults[place] = lambda exchange: exchange.reset()
        try:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                told = all_at_once(browsers)
                assert {status for status, _, _ in told} == {200}, told
                time.sleep(0.2)
        finally:
            bench.provider.mend()
        deadline = time.monotonic() + 90
        while oldest_word(bench, "lasting") > 4:
            assert time.monotonic() < deadline
            assert {status for status, _, _ in all_at_once(browsers)} == {200}
            time.sleep(0.5)

    on_each(benches, run)
