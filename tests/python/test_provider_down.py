"""The provider is away: what can be decided without it is decided, the rest is asked to come again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import tokens, venvs, wire
from support.browser import Browser
from support.provider import CLIENT_ID, Provider
from support.scripted import Answer, ScriptedProvider
from support.server import MakeServer, MlflowServer, settings_for

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
AWAY = ("provider_unreachable", "provider_pending", "provider_busy")
DISCOVERY = "/.well-known/openid-configuration"


def eventually(works: Callable[[], bool], seconds: float = 30) -> float:
    """How long it took; within half a minute or it is a failure."""
    started = time.monotonic()
    while not works():
        assert time.monotonic() - started < seconds, "it did not come back"
        time.sleep(0.5)
    return time.monotonic() - started


def test_away_at_the_start_and_away_later(version: str, make_server: MakeServer) -> None:
    """One server's life: its provider is not there, comes, goes, and comes again."""
    provider = Provider()
    server = make_server(version, provider.issuer)
    try:
        _away_at_the_start(server, provider)
        browser, token = _it_comes(server, provider)
        _it_goes(server, provider, browser, token)
        _it_comes_again(server, provider)
    finally:
        provider.stop()


def _away_at_the_start(server: MlflowServer, provider: Provider) -> None:
    token = provider.bearer("alice")
    for path in [EXPERIMENTS, *(["/v1/traces"] if server.modern else [])]:
        started = time.monotonic()
        answer = server.call("POST" if "traces" in path else "GET", path, token=token)
        wire.refusal(answer, 503, *AWAY)
        assert time.monotonic() - started < 15
    browser = Browser(server)
    page = browser.open(server.url + "/oidc/login?next=/&go=1")
    assert page.status_code == 503
    assert int(page.headers["Retry-After"]) > 0
    assert page.headers["Content-Type"].startswith("text/html")
    # What needs no provider is answered as always.
    wire.refusal(server.call("GET", EXPERIMENTS), 401, "no_credentials")
    assert server.call("GET", "/", headers=wire.NAVIGATION).status_code == 302
    assert server.call("GET", "/oidc/login?next=/", headers=wire.NAVIGATION).status_code == 200
    server.admin("GET", EXPERIMENTS)
    assert server.user("alice@example.org") is None


def _it_comes(server: MlflowServer, provider: Provider) -> tuple[Browser, str]:
    provider.start()
    provider.put_user("alice")
    browser = Browser(server)
    at = server.url + "/oidc/login?next=/&go=1"
    eventually(lambda: browser.open(at).status_code == 302)
    browser.login(provider, "alice")
    assert browser.signed_in()["username"] == "alice@example.org"
    token = provider.bearer("alice")
    assert server.call("GET", EXPERIMENTS, token=token).status_code == 200
    return browser, token


def _it_goes(server: MlflowServer, provider: Provider, browser: Browser, token: str) -> None:
    provider.stop()
    started = time.monotonic()
    # A token seen before, new ones of known and unknown people, and the session: the keys are here.
    assert server.call("GET", EXPERIMENTS, token=token).status_code == 200
    assert server.call("GET", EXPERIMENTS, token=provider.bearer("alice")).status_code == 200
    assert server.call("GET", EXPERIMENTS, token=provider.bearer("bob")).status_code == 200
    assert browser.xhr("GET", EXPERIMENTS).status_code == 200
    assert browser.signed_in()["username"] == "alice@example.org"
    forged = tokens.Key.rsa(kid=provider.key.kid)
    refused = forged.token(tokens.bearer_claims(provider.issuer, "alice", CLIENT_ID))
    wire.refusal(server.call("GET", EXPERIMENTS, token=refused), 401, "token_signature")
    wire.refusal(server.call("GET", EXPERIMENTS, token=provider.bearer("alice", exp=1)), 401, "token_expired")
    assert time.monotonic() - started < 5, "nothing of that waits for anybody"
    # A key that nobody knows may be a new one: the provider would have to be asked.
    unknown = tokens.Key.rsa().token(tokens.bearer_claims(provider.issuer, "alice", CLIENT_ID))
    answer = server.call("GET", EXPERIMENTS, token=unknown)
    assert answer.status_code in (401, 503), answer.text
    wire.refusal(answer, answer.status_code, "token_key_unknown", *AWAY)


def _it_comes_again(server: MlflowServer, provider: Provider) -> None:
    provider.start()
    browser = Browser(server)
    at = server.url + "/oidc/login?next=/&go=1"
    eventually(lambda: browser.open(at).status_code == 302)
    browser.login(provider, "alice")
    assert browser.signed_in()["username"] == "alice@example.org"


@pytest.fixture
def scripted() -> Iterator[ScriptedProvider]:
    running = ScriptedProvider().start()
    yield running
    running.stop()


BROKEN: dict[str, Callable[[ScriptedProvider], Answer]] = {
    "another issuer": lambda p: Answer(body=p.discovery(issuer="https://evil.example")),
    "an error": lambda p: Answer(500, {"error": "server_error"}),
    "no JSON": lambda p: Answer(body=b"<html>hello</html>"),
    "more than a mebibyte": lambda p: Answer(body={**p.discovery(), "padding": "x" * 1_200_000}),
    "a redirect to another origin": lambda p: Answer(302, {}, {"Location": "http://localhost:1/elsewhere"}),
    "an endpoint of no web": lambda p: Answer(body=p.discovery(token_endpoint="file:///etc/passwd")),
}


def test_a_provider_that_hangs_and_one_that_lies(
    version: str, make_server: MakeServer, scripted: ScriptedProvider
) -> None:
    """Nobody gets in by it, each fault in turn; and when the provider is right again, so is everything."""
    scripted.answers[DISCOVERY] = lambda: Answer(body=scripted.discovery(), after=40)
    settings = settings_for(scripted.issuer, OIDC_HTTP_TIMEOUT="4")
    server = make_server(version, scripted.issuer, workers=2, settings=settings)
    _it_hangs_and_holds_up_nobody_else(server, scripted)

    # Each fault costs a cooldown, and one parser reads them all: every version gets its own third.
    for name in [*BROKEN][venvs.VERSIONS.index(version) :: len(venvs.VERSIONS)]:
        scripted.answers[DISCOVERY] = BROKEN[name](scripted)
        seen = scripted.count(DISCOVERY)

        def asked_again(name: str = name, seen: int = seen) -> bool:
            answer = server.call("GET", EXPERIMENTS, token=scripted.id_token())
            assert answer.status_code in (502, 503), f"{name}: {answer.status_code} {answer.text}"
            return scripted.count(DISCOVERY) > seen

        eventually(asked_again)
        answer = server.call("GET", EXPERIMENTS, token=scripted.id_token())
        assert answer.status_code in (502, 503), f"{name}: {answer.status_code} {answer.text}"
    del scripted.answers[DISCOVERY]
    eventually(lambda: server.call("GET", EXPERIMENTS, token=scripted.id_token()).status_code == 200)


def _it_hangs_and_holds_up_nobody_else(server: MlflowServer, scripted: ScriptedProvider) -> None:
    token = scripted.id_token()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.call, "GET", EXPERIMENTS, token=token)
        time.sleep(0.5)
        for _ in range(5):
            started = time.monotonic()
            assert server.call("GET", "/health").status_code == 200
            assert time.monotonic() - started < 1, "one stuck request stops the others"
        started = time.monotonic()
        wire.refusal(waiting.result(), 503, *AWAY)
        assert time.monotonic() - started < 8, "the whole answer is waited for four seconds at most"
    if server.modern:
        for _ in range(3):
            started = time.monotonic()
            wire.refusal(server.call("POST", "/v1/traces", token=token), 503, *AWAY)
            assert time.monotonic() - started < 1, "nothing waits on the event loop"
