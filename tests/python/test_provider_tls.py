"""The way to the provider: whose certificate is believed, and who stands between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import bench as benches_of
from support import certificates, wire
from support.bench import EXPERIMENTS, Bench, on_each
from support.forward_proxy import Proxy
from support.misbehaving import MisbehavingProvider
from support.server import MakeServer


@pytest.fixture(scope="module")
def benches(make_module_server: MakeServer, tmp_path_factory: pytest.TempPathFactory) -> list[Bench]:
    return benches_of.both(make_module_server, tmp_path_factory.mktemp("bundles"))


def test_a_company_certificate_is_believed_by_the_bundle_alone(benches: list[Bench], tmp_path: Path) -> None:
    def run(bench: Bench) -> None:
        for bundle in ("", str(another)):
            asked = len(bench.provider.seen)
            bench.fresh(OIDC_CA_BUNDLE=bundle)
            answer = bench.server.call("GET", EXPERIMENTS, token=bench.provider.bearer())
            wire.refusal(answer, 503, "provider_unreachable")
            log = bench.log()
            assert f"an answer from '{bench.provider.issuer}/.well-known/openid-configuration'" in log
            assert "invalid peer certificate: UnknownIssuer" in log
            assert len(bench.provider.seen) == asked, "a request was sent to somebody unknown"
        both = tmp_path / f"both-{bench.server.version}.pem"
        both.write_bytes(another.read_bytes() + bench.bundle.read_bytes())
        for bundle in (bench.bundle, both):
            bench.fresh(OIDC_CA_BUNDLE=str(bundle))
            browser = bench.login()
            assert browser.xhr("GET", EXPERIMENTS).status_code == 200
            answer = bench.server.call("GET", EXPERIMENTS, token=bench.provider.bearer())
            assert answer.status_code == 200, answer.text

    another = tmp_path / "another.pem"
    another.write_bytes(certificates.authority("another company's authority").pem())
    on_each(benches, run)


@pytest.mark.parametrize("content", ["", "no certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_bundle_that_is_none_lets_nobody_in_and_says_why(
    benches: list[Bench], tmp_path: Path, content: str
) -> None:
    """Going on with the system's certificates alone would look like a fault of the provider."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(content)

    def run(bench: Bench) -> None:
        bench.fresh(OIDC_CA_BUNDLE=str(bundle))
        answer = bench.server.call("GET", EXPERIMENTS, token=bench.provider.bearer())
        said = wire.refusal(answer, 500, "configuration")
        assert "OIDC_CA_BUNDLE" in said["message"], said

    on_each(benches, run)


@pytest.fixture
def plain() -> Iterator[MisbehavingProvider]:
    running = MisbehavingProvider()
    yield running
    running.close()


def proxied(proxy: Proxy) -> dict[str, str]:
    return dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy.url)


def test_nobody_stands_between_us_and_this_machine(benches: list[Bench], plain: MisbehavingProvider) -> None:
    """Plain http to loopback is allowed because nothing leaves the machine; a proxy would read the secret."""

    def run(bench: Bench) -> None:
        proxy = Proxy(plain)
        try:
            for provider, subject in ((bench.provider, "alice"), (plain, "bob")):
                bench.fresh(provider.issuer, **proxied(proxy))
                bench.login(provider, subject)
            assert proxy.seen == []
        finally:
            proxy.close()

    on_each(benches, run)


def test_a_proxy_is_the_way_to_a_provider_elsewhere(benches: list[Bench]) -> None:
    """And it learns where to, and nothing else."""

    def run(bench: Bench) -> None:
        certificate = bench.authority.issue(names=certificates.ELSEWHERE)
        provider = MisbehavingProvider(certificate.server_context())
        # No resolver knows this name.
        provider.issuer = f"https://{certificates.ELSEWHERE[0].value}"
        proxy = Proxy(provider)
        try:
            bench.fresh(provider.issuer, **proxied(proxy))
            bench.login(provider, "carol")
            assert {(exchange.method, exchange.path) for exchange in proxy.seen} == {
                ("CONNECT", f"{certificates.ELSEWHERE[0].value}:443")
            }
            assert not any("authorization" in exchange.headers for exchange in proxy.seen)
            assert provider.count("token") == 1
        finally:
            proxy.close()
            provider.close()

    on_each(benches, run)


def test_a_proxy_that_answers_itself_is_not_believed(
    benches: list[Bench], plain: MisbehavingProvider
) -> None:
    """It has no certificate of the provider's, whatever it says."""

    def run(bench: Bench) -> None:
        proxy = Proxy(plain)
        issuer = f"https://{certificates.ELSEWHERE[0].value}"
        try:
            bench.fresh(issuer, **proxied(proxy))
            answer = bench.server.call("GET", EXPERIMENTS, token=plain.bearer(iss=issuer))
            wire.refusal(answer, 503, "provider_unreachable")
            assert proxy.seen
            assert plain.seen == []
        finally:
            proxy.close()

    on_each(benches, run)
