"""Whatever the provider does at whichever place: it ends in time, names who is at fault, signs nobody in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from support import bench as benches_of
from support import faults, wire
from support.bench import EXPERIMENTS, Bench, Timed, on_each
from support.browser import Browser
from support.misbehaving import Fault
from support.server import MakeServer

BEFORE_LOGIN = ("discovery", "keys")
PLACES = (*BEFORE_LOGIN, "token", "userinfo")
LOGIN = "/oidc/login?next=/&go=1"
# The longest pause between two tries while the provider is down, and a little.
BACKOFF = 8 + 1
UNREACHABLE = (503, "provider_unreachable")
ERROR = (502, "provider_error")
UNUSABLE = (502, "provider_answer")


@dataclass(frozen=True)
class Row:
    fault: Callable[[Bench], Fault]
    refusal: tuple[int, str]
    # What the log says was found.
    found: str
    # A server's memory must not grow by what the provider sends.
    heavy: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


def always(fault: Fault) -> Callable[[Bench], Fault]:
    return lambda bench: fault


def elsewhere(status: str) -> Callable[[Bench], Fault]:
    return lambda bench: faults.redirect(bench.other.issuer, status)


IN_FORM = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
FAULTS = {
    "500": Row(always(faults.server_error), ERROR, "status 500"),
    "silence": Row(always(faults.hang), UNREACHABLE, "no answer within 2 s"),
    "a drip of the head": Row(always(faults.drip_of_the_head), UNREACHABLE, "no answer within 2 s"),
    "a drip of the body": Row(always(faults.drip_of_the_body), UNREACHABLE, "no answer within 2 s"),
    "no HTTP": Row(always(faults.no_http), UNREACHABLE, "no usable answer: "),
    "no JSON": Row(always(faults.no_json), UNUSABLE, "not JSON"),
    "a page": Row(always(faults.page), UNUSABLE, "an HTML page"),
    "JSON called a page": Row(
        lambda bench: faults.good_but_called("text/html", bench.provider), UNUSABLE, "an HTML page"
    ),
    "fifty megabytes": Row(always(faults.fifty_megabytes), UNREACHABLE, "more than 1048576 bytes", True),
    "chunks without end": Row(always(faults.no_end), UNREACHABLE, "more than 1048576 bytes", True),
    "headers without end": Row(always(faults.headers_without_end), UNREACHABLE, "no usable answer: ", True),
    "a bomb of gzip": Row(always(faults.bomb), UNUSABLE, "not JSON", True),
    "promises without end": Row(always(faults.promises_without_end), UNREACHABLE, "no answer within 2 s"),
    "less than promised": Row(always(faults.less_than_promised), UNREACHABLE, "no usable answer: "),
    "a reset": Row(always(faults.reset), UNREACHABLE, "no usable answer: "),
    "a reset within the body": Row(always(faults.reset_within_the_body), UNREACHABLE, "no usable answer: "),
    "a redirect elsewhere": Row(elsewhere("302 Found"), UNREACHABLE, "a redirect to another origin"),
    "a redirect that keeps the form": Row(
        elsewhere("307 Temporary Redirect"), UNREACHABLE, "a redirect to another origin", metadata=IN_FORM
    ),
    "a redirect without TLS": Row(
        lambda bench: faults.redirect(bench.plain.issuer, "308 Permanent Redirect"),
        UNREACHABLE,
        "a redirect to another origin",
        metadata=IN_FORM,
    ),
}
STRANGERS = {
    "a self-signed certificate": "invalid peer certificate",
    "a certificate of an unknown authority": "invalid peer certificate: UnknownIssuer",
    "a certificate for another host": "invalid peer certificate: certificate not valid for name",
    "an expired certificate": "invalid peer certificate: certificate expired",
    "no TLS": "no connection: ",
    "a handshake without end": "no answer within 2 s",
}


@pytest.fixture(scope="module")
def benches(make_module_server: MakeServer, tmp_path_factory: pytest.TempPathFactory) -> list[Bench]:
    return benches_of.both(make_module_server, tmp_path_factory.mktemp("bundles"))


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_fault(benches: list[Bench], place: str, name: str) -> None:
    row = FAULTS[name]

    def run(bench: Bench) -> None:
        provider, elsewhere = bench.provider, (bench.other, bench.plain)
        provider.metadata |= row.metadata
        provider.seen.clear()
        came = [stranger.connections for stranger in elsewhere]
        bench.fresh()

        def spoil() -> None:
            provider.faults[place] = row.fault(bench)

        try:
            if row.heavy:
                with bench.memory_bounded(megabytes=32):
                    refused(bench, place, spoil, row.refusal, row.found)
                assert max(exchange.sent for exchange in provider.seen) < 20 * faults.MEGABYTE
            else:
                refused(bench, place, spoil, row.refusal, row.found)
        finally:
            provider.mend()
        assert [stranger.connections for stranger in elsewhere] == came, "a redirect was followed"
        works_again(bench)

    on_each(benches, run)


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("place", PLACES)
def test_a_certificate_that_does_not_verify(benches: list[Bench], place: str, name: str) -> None:
    def run(bench: Bench) -> None:
        provider, stranger = bench.provider, bench.strangers[name]
        issuer = provider.issuer
        if place == "discovery":
            issuer = stranger.issuer
        else:
            provider.move(place, stranger.issuer)
        bench.fresh(issuer)
        try:
            refused(bench, place, lambda: None, UNREACHABLE, STRANGERS[name], issuer)
        finally:
            provider.mend()
        assert stranger.seen == [], "something was told to somebody who did not prove to be the provider"
        works_again(bench)

    on_each(benches, run)


@pytest.mark.parametrize("place", PLACES)
def test_json_under_another_name_than_a_page_is_read(benches: list[Bench], place: str) -> None:
    """Some providers say text/plain, or nothing that fits; whatever the name, it is judged as JSON."""

    def run(bench: Bench) -> None:
        bench.provider.faults[place] = faults.good_but_called("text/plain; charset=utf-8", bench.provider)
        try:
            works_again(bench)
        finally:
            bench.provider.mend()

    on_each(benches, run)


@pytest.mark.parametrize("place", PLACES)
def test_it_comes_back_by_itself(benches: list[Bench], place: str) -> None:
    """The same engine, without anybody's doing; and who has come back from the provider meanwhile gets in."""

    def run(bench: Bench) -> None:
        provider, browser = bench.provider, Browser(bench.server)
        bench.fresh()
        try:
            refused(bench, place, lambda: provider.faults.update({place: faults.hang}), UNREACHABLE, "2 s")
        finally:
            provider.mend()
        until = time.monotonic() + BACKOFF
        while browser.open(bench.server.url + LOGIN).status_code == 503:
            assert time.monotonic() < until
            time.sleep(0.2)
        callback = provider.begin_login(browser)
        while (answer := browser.open(callback)).status_code == 503:
            assert time.monotonic() < until
            assert place not in BEFORE_LOGIN
            time.sleep(0.2)
        assert answer.status_code == 302, f"{answer.status_code} {answer.text}"
        assert browser.signed_in()["username"] == "alice@example.org"

    on_each(benches, run)


def refused(
    bench: Bench,
    place: str,
    spoil: Callable[[], None],
    refusal: tuple[int, str],
    found: str,
    issuer: str | None = None,
) -> None:
    status, code = refusal
    people = bench.server.rows("SELECT count(*) FROM users")
    browser = Browser(bench.server)
    if place in BEFORE_LOGIN:
        spoil()
        refused_before_login(bench, refusal, issuer or bench.provider.issuer)
        with Timed():
            answer = browser.open(bench.server.url + LOGIN)
    else:
        callback = bench.provider.begin_login(browser)
        spoil()
        with Timed():
            answer = browser.open(callback)
    is_page(answer, status, code)
    assert browser.session() is None
    assert bench.server.rows("SELECT count(*) FROM users") == people
    log = bench.log()
    told = [line for line in log.splitlines() if f"with {code} (Provider at fault)" in line]
    assert told, f"the log does not name the provider: {log}"
    assert all(found in line for line in told), told
    assert "\x1b" not in log
    assert not [line for line in log.splitlines() if line.startswith("2026/01/01 00:00:00")], log


def refused_before_login(bench: Bench, refusal: tuple[int, str], issuer: str) -> None:
    token = bench.provider.bearer(iss=issuer)
    with Timed():
        answer = bench.server.call("GET", EXPERIMENTS, token=token)
    said = wire.refusal(answer, *refusal)
    assert faults.WORDS not in said["message"]


def is_page(answer: requests.Response, status: int, code: str) -> None:
    """A page for people, in our words only."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"].startswith("text/html"), answer.headers
    assert f"Code: {code}" in answer.text
    assert "provider" in answer.text
    assert faults.WORDS not in answer.text
    assert "alert(" not in answer.text
    assert (status == 503) == ("Retry-After" in answer.headers)


def works_again(bench: Bench) -> None:
    bench.fresh()
    bench.login()
    answer = bench.server.call("GET", EXPERIMENTS, token=bench.provider.bearer())
    assert answer.status_code == 200, answer.text
