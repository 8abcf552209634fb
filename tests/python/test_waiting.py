"""While the provider takes five seconds for each answer and everything that needs it comes at once, nobody
else waits: bearers and sessions, known and new, on Flask's routes and on those of the event loop.

`make bench-waiting` measures the same; here stand the bounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest

from support import venvs
from support.browser import Browser
from support.misbehaving import MisbehavingProvider
from support.probes import WHO, Asking, probes
from support.server import MakeServer, settings_for
from support.storm import LOGINS, Storm

PROVIDER_SECONDS = 5
CALM, RAMP, STORM = 3, 2, 8
# In milliseconds. The alternative is to wait for the provider, or for one of the threads that do.
OTHERS = 500
UNKNOWN_KEY = 50


@pytest.fixture
def provider() -> Iterator[MisbehavingProvider]:
    running = MisbehavingProvider()
    yield running
    running.close()


def test_nobody_else_waits_for_a_provider_that_takes_five_seconds(
    make_server: MakeServer, provider: MisbehavingProvider
) -> None:
    # Sessions are read again and again while others are being written.
    settings = settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="1", PYTHONPATH=str(venvs.PROGRAMS))
    server = make_server("3.17.2", provider.issuer, settings=settings, function="timed:authenticate_request")
    browser = Browser(server)
    assert browser.open(provider.begin_login(browser, WHO)).status_code == 302
    chosen = probes(provider, browser, provider.bearer(WHO), never_seen=400, modern=True)
    for probe in chosen:
        server.call_native(probe.method, probe.path, headers=probe.credentials[0])
    storm = Storm(server, provider)
    storm.introduce()
    assert server.call("POST", "/test/times").status_code == 204
    asking = Asking(server.url, chosen)
    calm = asking.ask(CALM)
    with storm.raging(PROVIDER_SECONDS):
        time.sleep(RAMP)
        pending, in_trouble = storm.pending, provider.in_trouble
        taken = asking.ask(STORM)

    for probe in chosen:
        refused, took = taken[probe.name].refused, taken[probe.name].milliseconds
        assert not refused, refused[0]
        assert len(took) >= 20, f"{probe.name}: only {len(took)} requests"
        before = max(calm[probe.name].milliseconds)
        assert max(took) < OTHERS + before, f"{probe.name}: {max(took):.0f} ms, and {before:.0f} ms before"
    assert set(storm.answers["unknown key, native"]) == {"503 provider_pending"}, storm.answers
    typical = statistics.median(storm.on_event_loop)
    assert typical < UNKNOWN_KEY, f"{typical:.0f} ms for an unknown key on the event loop"
    assert set(storm.answers["forged, native"]) == {"401 token_signature"}, storm.answers
    # Was it a storm?
    assert pending == LOGINS, f"only {pending} logins were pending"
    assert in_trouble > 1, "logins and keys have to be what the provider is slow with"
