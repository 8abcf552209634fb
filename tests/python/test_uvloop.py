"""With uvloop installed, as docs/tuning.md advises: no answer waits for the client's acknowledgement,
and on this event loop too we never wait for the provider.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from support import faults, tokens, venvs, wire
from support.misbehaving import MisbehavingProvider
from support.provider import CLIENT_ID
from support.server import MakeServer, MlflowServer, settings_for

WORKERS = 2
TIMEOUT = 4


@pytest.fixture(scope="module")
def provider() -> Iterator[MisbehavingProvider]:
    running = MisbehavingProvider()
    yield running
    running.close()


@pytest.fixture(scope="module")
def server(make_module_server: MakeServer, provider: MisbehavingProvider) -> MlflowServer:
    settings = settings_for(provider.issuer, OIDC_HTTP_TIMEOUT=str(TIMEOUT), PYTHONPATH=str(venvs.PROGRAMS))
    return make_module_server(
        "3.17.2-uvloop",
        provider.issuer,
        workers=WORKERS,
        settings=settings,
        function="sockets:authenticate_request",
    )


def test_every_connection_has_tcp_nodelay(server: MlflowServer) -> None:
    """Without it the body waits until the headers are acknowledged, which Linux puts off for 40 ms."""
    answered = set()
    for _ in range(20 * WORKERS):
        with requests.Session() as session:
            session.trust_env = False
            said = session.get(server.url + "/test/sockets", timeout=30).json()
        assert said["nodelay"], "the connection that asked is one of them"
        assert all(said["nodelay"]), said
        answered.add(said["pid"])
    assert answered <= set(server.worker_pids())


def test_the_event_loop_does_not_wait_for_the_provider(
    server: MlflowServer, provider: MisbehavingProvider
) -> None:
    token = provider.bearer()
    for _ in range(4 * WORKERS):
        server.call_native("POST", "/v1/traces", token=token)
    provider.faults["keys"] = faults.hang
    claims = tokens.bearer_claims(provider.issuer, "alice", CLIENT_ID)
    for _ in range(2 * WORKERS):
        unknown = tokens.Key.rsa().token(claims)
        started = time.monotonic()
        wire.refusal(server.call("POST", "/v1/traces", token=unknown), 503)
        assert time.monotonic() - started < 1, "the alternative is the time-out of four seconds"
