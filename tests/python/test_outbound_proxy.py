"""The way out through a company's proxy, by the variables that every program knows.

The provider has a name that only the proxy can resolve: who asks it directly, asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import certificates, wire
from support.bench import EXPERIMENTS, Bench
from support.forward_proxy import Proxy
from support.misbehaving import MisbehavingProvider
from support.server import MakeServer

NAME = certificates.ELSEWHERE[0].value
ISSUER = f"https://{NAME}"
# Of no real person; '@' has to be written as %40 in an address.
CREDENTIALS = "mlflow:pass@word-of-the-proxy"


@pytest.fixture(scope="module")
def bench(make_module_server: MakeServer, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(make_module_server, "3.17.2", tmp_path_factory.mktemp("bundle"))
    made.server.wait_until_ready()
    made.server.secrets.add("word-of-the-proxy")
    return made


@pytest.fixture
def elsewhere(bench: Bench) -> Iterator[MisbehavingProvider]:
    made = MisbehavingProvider(bench.authority.issue(names=certificates.ELSEWHERE).server_context())
    made.issuer = ISSUER
    yield made
    made.close()


def named(proxy: Proxy, variables: dict[str, str]) -> dict[str, str]:
    return {name: value.replace("PROXY", proxy.url) for name, value in variables.items()}


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTPS_PROXY": "PROXY"},
        {"https_proxy": "PROXY"},
        {"ALL_PROXY": "PROXY"},
        {"all_proxy": "PROXY"},
        {"HTTPS_PROXY": "PROXY", "HTTP_PROXY": "http://127.0.0.1:9"},
        {"HTTPS_PROXY": "PROXY", "NO_PROXY": f"localhost,127.0.0.1,other.example,not-{NAME}"},
        {"https_proxy": "PROXY", "no_proxy": "10.0.0.0/8"},
    ],
    ids=str,
)
def test_by_the_proxy(bench: Bench, elsewhere: MisbehavingProvider, variables: dict[str, str]) -> None:
    proxy = Proxy(elsewhere)
    try:
        bench.fresh(ISSUER, **named(proxy, variables))
        answer = bench.server.call("GET", EXPERIMENTS, token=elsewhere.bearer())
        assert answer.status_code == 200, answer.text
        bench.login(elsewhere)
        assert {(exchange.method, exchange.path) for exchange in proxy.seen} == {("CONNECT", f"{NAME}:443")}
    finally:
        proxy.close()


@pytest.mark.parametrize(
    "variables",
    [
        # For plain http alone, which no provider elsewhere speaks.
        {"HTTP_PROXY": "PROXY"},
        {"http_proxy": "PROXY"},
        {"HTTPS_PROXY": "PROXY", "NO_PROXY": NAME},
        {"HTTPS_PROXY": "PROXY", "no_proxy": NAME},
        {"HTTPS_PROXY": "PROXY", "NO_PROXY": f"localhost, .{NAME.partition('.')[2]}"},
        {"ALL_PROXY": "PROXY", "NO_PROXY": "*"},
        {},
    ],
    ids=str,
)
def test_directly(bench: Bench, elsewhere: MisbehavingProvider, variables: dict[str, str]) -> None:
    proxy = Proxy(elsewhere)
    try:
        bench.fresh(ISSUER, **named(proxy, variables))
        answer = bench.server.call("GET", EXPERIMENTS, token=elsewhere.bearer())
        wire.refusal(answer, 503, "provider_unreachable")
        assert proxy.seen == []
        assert elsewhere.seen == []
    finally:
        proxy.close()


def test_a_proxy_that_wants_to_know_who_asks(bench: Bench, elsewhere: MisbehavingProvider) -> None:
    """Its password is in nobody's log, whether it is right or wrong."""
    proxy = Proxy(elsewhere, CREDENTIALS)
    at = proxy.url.removeprefix("http://")
    try:
        user, _, password = CREDENTIALS.replace("@", "%40").partition(":")
        for given in (f"{user}:not-{password}@", ""):
            bench.fresh(ISSUER, HTTPS_PROXY=f"http://{given}{at}")
            answer = bench.server.call("GET", EXPERIMENTS, token=elsewhere.bearer())
            wire.refusal(answer, 503, "provider_unreachable")
            assert "proxy authorization required" in bench.log()
        assert elsewhere.seen == []
        bench.fresh(ISSUER, HTTPS_PROXY=f"http://{user}:{password}@{at}")
        answer = bench.server.call("GET", EXPERIMENTS, token=elsewhere.bearer())
        assert answer.status_code == 200, answer.text
    finally:
        proxy.close()


def test_a_proxy_that_is_away(bench: Bench, elsewhere: MisbehavingProvider) -> None:
    proxy = Proxy(elsewhere)
    proxy.close()
    bench.fresh(ISSUER, HTTPS_PROXY=proxy.url)
    answer = bench.server.call("GET", EXPERIMENTS, token=elsewhere.bearer())
    wire.refusal(answer, 503, "provider_unreachable")
    assert "no connection: " in bench.log()
