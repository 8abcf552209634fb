"""The provider signs somebody out behind the browser's back: on every worker, and nobody else's session."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

from support import tokens
from support.browser import Browser
from support.provider import CLIENT_ID, Provider
from support.server import MlflowServer

Person = Callable[..., str]

PATH = "/oidc/backchannel-logout"
EVENTS = {"http://schemas.openid.net/event/backchannel-logout": {}}


def logout_token(provider: Provider, subject: str, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": provider.issuer,
        "aud": CLIENT_ID,
        "sub": subject,
        "iat": now,
        "exp": now + 120,
        "jti": uuid.uuid4().hex,
        "events": EVENTS,
        **changes,
    }
    return provider.key.token({k: v for k, v in claims.items() if v is not None}, typ="logout+jwt")


def test_it_ends_on_every_worker(server: MlflowServer, provider: Provider, person: Person) -> None:
    alice, bob = person("alice"), person("bob")
    browsers = {subject: Browser(server) for subject in (alice, bob)}
    for subject, browser in browsers.items():
        browser.login(provider, subject)
        for _ in range(8):
            browser.signed_in()
    answer = server.call("POST", PATH, data={"logout_token": logout_token(provider, alice)})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    if server.workers > 1:
        time.sleep(server.session_cache_seconds)
    for _ in range(8):
        assert browsers[alice].session() is None
        assert browsers[bob].signed_in()["username"] == f"{bob}@example.org"


def test_whoever_is_not_the_provider_ends_nothing(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    browser = Browser(server)
    browser.login(provider, alice)
    claims = tokens.claims_of(logout_token(provider, alice))
    forged = tokens.Key.rsa().token(claims, kid=provider.key.kid, typ="logout+jwt")
    refused = {
        forged: "token_signature",
        logout_token(provider, alice, aud="another"): "token_audience",
        logout_token(provider, alice, nonce="n"): "token_type",
        provider.bearer(alice): "token_type",
    }
    for token, code in refused.items():
        answer = server.call("POST", PATH, data={"logout_token": token})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] == "invalid_request"
        assert answer.json()["code"] == code
    too_much = server.call("POST", PATH, data={"logout_token": "x" * 1_000_000})
    assert too_much.status_code == 400, too_much.text
    assert browser.signed_in()["username"] == f"{alice}@example.org"


def test_half_a_body_is_no_fault_of_ours(server: MlflowServer) -> None:
    """Whoever goes away in the middle, or sends chunks that are none, gets no traceback into the log."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    for rest in (
        "Content-Length: 50\r\n\r\nlogout_token=half",
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\nnonsense\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nlogou",
        "Content-Length: 99999999\r\n\r\nlogout_token=x",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall((head + rest).encode())
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            with contextlib.suppress(OSError):
                connection.recv(1000)
    assert server.call("GET", "/health").status_code == 200
    assert "a fault in mlflow-oidc" not in server.log_text()
