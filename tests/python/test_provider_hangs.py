"""The provider hangs: whoever needs it waits for a bounded time, and everybody else notices nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import pytest
import requests

from support import bench as benches_of
from support import faults, tokens, wire
from support.bench import EXPERIMENTS, Bench, on_each
from support.browser import Browser
from support.misbehaving import MisbehavingProvider
from support.provider import CLIENT_ID
from support.server import ADMIN, MakeServer, settings_for

# How long the provider is waited for here, and how long a request waits for others that ask it.
TIMEOUT = 4
STUCK = 10
# Of those who wait for the same fetch only so many do; the others are told to come again.
WAITING = 8
QUICK = 30
AWAY = ("provider_unreachable", "provider_pending", "provider_busy")
PLACES = ("discovery", "keys", "a new key", "token", "userinfo")
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/missing"


@pytest.fixture(scope="module")
def benches(make_module_server: MakeServer, tmp_path_factory: pytest.TempPathFactory) -> list[Bench]:
    return benches_of.both_with_threads(make_module_server, tmp_path_factory.mktemp("bundles"))


@dataclass(frozen=True)
class Quick:
    """A request that needs no provider, and what it is answered."""

    send: Callable[[], requests.Response]
    statuses: tuple[int, ...]

    def one(self) -> float:
        started = time.monotonic()
        answer = self.send()
        assert answer.status_code in self.statuses, (
            f"{answer.request.url}: {answer.status_code} {answer.text}"
        )
        return time.monotonic() - started


@pytest.mark.parametrize("place", PLACES)
def test_whoever_needs_no_provider_does_not_wait_for_it(benches: list[Bench], place: str) -> None:
    def run(bench: Bench) -> None:
        provider = bench.provider
        bench.fresh(OIDC_HTTP_TIMEOUT=str(TIMEOUT))
        token, browser = provider.bearer(), bench.login()
        at_start = place in ("discovery", "keys")
        try:
            if at_start:
                provider.faults[place] = faults.hang
                bench.fresh(OIDC_HTTP_TIMEOUT=str(TIMEOUT))
            quick = needing_nobody(bench, browser) + ([] if at_start else by_bearer(bench, token))
            for each in quick:
                come_again(each.send)
            before = max(each.one() for each in quick)
            stuck = needing_the_provider(bench, place)
            provider.faults["keys" if place == "a new key" else place] = faults.hang
            slowest = while_stuck(bench, stuck, quick)
        finally:
            provider.mend()
        assert slowest < 1 + before, f"{slowest:.2f} s, and {before:.2f} s before"

    on_each(benches, run)


def needing_nobody(bench: Bench, browser: Browser) -> list[Quick]:
    server = bench.server
    stranger = tokens.Key.rsa().token(tokens.bearer_claims("https://evil.example", "alice", CLIENT_ID))
    quick = [
        Quick(lambda: browser.xhr("GET", EXPERIMENTS), (200,)),
        Quick(lambda: server.call("GET", EXPERIMENTS), (401,)),
        Quick(lambda: server.call("GET", EXPERIMENTS, token=stranger), (401,)),
        Quick(lambda: server.call("GET", "/", headers=wire.NAVIGATION), (302,)),
        Quick(lambda: server.call("GET", "/health"), (200,)),
        Quick(lambda: server.call("GET", EXPERIMENTS, auth=ADMIN), (200,)),
    ]
    if server.modern:
        quick += [
            Quick(lambda: server.call("POST", "/v1/traces"), (401,)),
            Quick(lambda: browser.xhr("GET", ARTIFACT), (404, 500)),
        ]
    return quick


def by_bearer(bench: Bench, token: str) -> list[Quick]:
    server, provider = bench.server, bench.provider
    quick = [
        Quick(lambda: server.call("GET", EXPERIMENTS, token=token), (200,)),
        Quick(lambda: server.call("GET", EXPERIMENTS, token=provider.bearer()), (200,)),
    ]
    if server.modern:
        # MLflow has no use for a trace without content; that it says so is proof that we let it through.
        quick += [
            Quick(lambda: server.call("POST", "/v1/traces", token=token), (400, 415, 422)),
            Quick(lambda: server.call("GET", ARTIFACT, token=provider.bearer()), (404, 500)),
        ]
    return quick


def come_again(send: Callable[[], requests.Response]) -> None:
    """On the event loop the first sight of anything may be a 503."""
    for _ in range(10):
        if send().status_code != 503:
            return
        time.sleep(0.5)


def needing_the_provider(bench: Bench, place: str) -> list[Callable[[], requests.Response]]:
    provider = bench.provider
    if place in ("token", "userinfo"):
        browsers = [Browser(bench.server) for _ in range(STUCK)]
        return [partial(browser.open, provider.begin_login(browser)) for browser in browsers]
    if place == "a new key":
        made = [unknown_key(provider) for _ in range(STUCK)]
    else:
        made = [provider.bearer() for _ in range(STUCK)]
    return [partial(bench.server.call, "GET", EXPERIMENTS, token=token) for token in made]


def unknown_key(provider: MisbehavingProvider) -> str:
    """A token that names a key of which nobody has heard."""
    claims = tokens.bearer_claims(provider.issuer, "alice", CLIENT_ID)
    return provider.key.token(claims, kid=uuid.uuid4().hex)


def while_stuck(bench: Bench, stuck: list[Callable[[], requests.Response]], quick: list[Quick]) -> float:
    """Sends quick requests for as long as the others are stuck; the slowest one's seconds are returned."""
    with ThreadPoolExecutor(STUCK) as pool:
        started = time.monotonic()
        waiting = [pool.submit(send) for send in stuck]
        while bench.provider.in_trouble == 0:
            assert time.monotonic() - started < 1, "nobody has asked the provider"
            time.sleep(0.01)
        took = []
        for each, _ in zip(cycle(quick), range(QUICK), strict=False):
            if _open(waiting) < WAITING:
                break
            took.append(each.one())
        # On an idle machine it is all thirty; on a busy one the stuck may come to their end before.
        assert len(took) > len(quick), f"only {len(took)} were answered while the others were stuck"
        if bench.server.modern:
            took.append(on_the_event_loop(bench))
        for future in waiting:
            answer = future.result()
            assert answer.status_code == 503, f"{answer.status_code} {answer.text}"
            assert any(code in answer.text for code in AWAY), answer.text
        assert time.monotonic() - started < TIMEOUT + benches_of.ALLOWANCE
    return max(took)


def _open(waiting: list[Future[requests.Response]]) -> int:
    return sum(not future.done() for future in waiting)


def on_the_event_loop(bench: Bench) -> float:
    """What would have to be waited for is asked to come again there."""
    token = unknown_key(bench.provider)
    started = time.monotonic()
    wire.refusal(bench.server.call("POST", "/v1/traces", token=token), 503, *AWAY)
    return time.monotonic() - started


LOGINS = 40
SHORT = 2


@pytest.fixture
def provider() -> Iterator[MisbehavingProvider]:
    running = MisbehavingProvider()
    yield running
    running.close()


@dataclass(frozen=True)
class Shape:
    """How a server is run, and how long others may have to wait in it."""

    version: str
    workers: int
    others: float


SHAPES = {
    # One process: an event loop, and 40 threads for Flask.
    "3.17.2": Shape("3.17.2", 1, others=1),
    # gunicorn's own kind of worker: one thread each, so whoever hangs has a whole one.
    "2.9.2": Shape("2.9.2", 2, others=2 * SHORT + 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_forty_logins_that_hang_leave_the_others_served(
    make_server: MakeServer, provider: MisbehavingProvider, name: str
) -> None:
    shape = SHAPES[name]
    settings = settings_for(provider.issuer, OIDC_HTTP_TIMEOUT=str(SHORT))
    server = make_server(shape.version, provider.issuer, workers=shape.workers, settings=settings)
    remembered = provider.bearer("bob")
    for _ in range(4 * shape.workers):
        assert server.call("GET", EXPERIMENTS, token=remembered).status_code == 200
    browsers = [Browser(server) for _ in range(LOGINS)]
    callbacks = [provider.begin_login(browser) for browser in browsers]
    provider.faults["token"] = faults.hang

    with ThreadPoolExecutor(LOGINS) as pool:
        started = time.monotonic()
        waiting = [
            pool.submit(browser.open, callback) for browser, callback in zip(browsers, callbacks, strict=True)
        ]
        while provider.in_trouble == 0:
            assert time.monotonic() - started < 1, "nobody has asked the provider"
            time.sleep(0.01)
        took = []
        for token in cycle([remembered, None]):
            if not _open(waiting):
                break
            asked = time.monotonic()
            answer = server.call("GET", EXPERIMENTS, token=token or provider.bearer("bob"))
            assert answer.status_code == 200, answer.text
            took.append(time.monotonic() - asked)
        for future in waiting:
            answer = future.result()
            assert answer.status_code == 503, answer.text
            assert any(code in answer.text for code in AWAY), answer.text
        whole = time.monotonic() - started
    assert max(took) < shape.others, f"the others took up to {max(took):.1f} s: {len(took)} requests"
    assert whole < 3 * SHORT, f"the forty were answered after {whole:.1f} s"
    sent = provider.count("token")
    provider.mend()
    assert those_who_get_in(browsers, callbacks) == LOGINS - sent, "a login that nothing was spent of is good"


def those_who_get_in(browsers: list[Browser], callbacks: list[str]) -> int:
    """Everybody opens the same address again; whose code had been sent is told to sign in again."""
    until = time.monotonic() + 10
    count = 0
    for browser, callback in zip(browsers, callbacks, strict=True):
        while (answer := browser.open(callback)).status_code == 503:
            assert time.monotonic() < until, answer.text
            time.sleep(0.2)
        if answer.status_code == 302:
            assert browser.signed_in()["username"] == "alice@example.org"
            count += 1
        else:
            assert answer.status_code == 400, answer.text
            assert "login_unknown" in answer.text
    return count
