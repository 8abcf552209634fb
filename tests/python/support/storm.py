"""All at once that makes a server wait for its provider: logins, a new key, forged tokens, unknown keys.

What is asked is the same however fast the provider answers, so that two storms can be compared.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests

from support import faults, tokens, wire
from support.bench import EXPERIMENTS
from support.browser import Browser
from support.misbehaving import PLACES, MisbehavingProvider
from support.probes import TRACES, bearer, cookie
from support.provider import CLIENT_ID
from support.server import MlflowServer

LOGS_IN, HAS_A_NEW_KEY = "alice", "carol"
LOGINS = 50
# Each person begins a login so often, in seconds: all of them are pending when the provider takes five.
LOGIN_EVERY = 7.5
# The other senders send one request in so many seconds.
EVERY = 0.25
MANY = 200


class Storm:
    """Rains on one server between `begin` and `end`; what was answered is counted by what was asked."""

    def __init__(self, server: MlflowServer, provider: MisbehavingProvider) -> None:
        self._server, self._provider = server, provider
        self.answers: dict[str, Counter[str]] = {}
        # Of the unknown keys on the event loop, in milliseconds.
        self.on_event_loop: list[float] = []
        # How many have been at the provider and are not signed in yet.
        self.pending = 0
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        # Made before it rains: a signature is CPU time that the server could use.
        self._forged = itertools.cycle([self._forge() for _ in range(MANY)])
        self._strange = itertools.cycle([self._unknown_key() for _ in range(MANY)])

    def introduce(self) -> None:
        """Lets the storm's people in for the first time: MLflow's database is locked while one is added."""
        for who in (LOGS_IN, HAS_A_NEW_KEY):
            headers = bearer(self._provider.bearer(who))
            assert _send("GET", self._server.url + EXPERIMENTS, headers).status_code == 200

    @contextmanager
    def raging(self, seconds_of_the_provider: float) -> Iterator[None]:
        """While the block runs; the provider takes so many seconds for each answer."""
        self._stopped.clear()
        provider = self._provider
        provider.rotate()
        fresh = itertools.cycle([provider.bearer(HAS_A_NEW_KEY) for _ in range(MANY)])
        if seconds_of_the_provider:
            late = faults.slow(seconds_of_the_provider, provider)
            provider.faults.update(dict.fromkeys(PLACES, late))
        with ThreadPoolExecutor(LOGINS + 64) as pool:
            running = [pool.submit(self._log_in_again_and_again, turn) for turn in range(LOGINS)]
            senders = [
                ("forged, Flask", "GET", EXPERIMENTS, self._forged, EVERY),
                ("unknown key, Flask", "GET", EXPERIMENTS, self._strange, EVERY),
                ("new key, Flask", "GET", EXPERIMENTS, fresh, 2 * EVERY),
            ]
            if self._server.modern:
                senders += [
                    ("forged, native", "POST", TRACES, self._forged, EVERY),
                    ("unknown key, native", "POST", TRACES, self._strange, EVERY),
                ]
            for name, method, path, source, every in senders:
                send = self._sender(name, method, path, source)
                running.append(pool.submit(self._again_and_again, pool, send, every))
            try:
                yield
            finally:
                self._stopped.set()
                for future in running:
                    future.result()
        provider.mend()

    def _forge(self) -> str:
        """Signed by a stranger under the name of the provider's own key."""
        claims = tokens.bearer_claims(self._provider.issuer, "bob", CLIENT_ID)
        return _STRANGER.token(claims, kid=self._provider.key.kid)

    def _unknown_key(self) -> str:
        claims = tokens.bearer_claims(self._provider.issuer, "bob", CLIENT_ID)
        return _STRANGER.token(claims, kid=uuid.uuid4().hex)

    def _add_pending(self, number: int) -> None:
        with self._lock:
            self.pending += number

    def _count(self, name: str, answer: requests.Response) -> None:
        code = _CODE.search(answer.text) if answer.status_code >= 400 else None
        told = (
            f"{answer.status_code} {next(filter(None, code.groups()))}" if code else str(answer.status_code)
        )
        with self._lock:
            self.answers.setdefault(name, Counter())[told] += 1

    def _sender(self, name: str, method: str, path: str, source: Iterator[str]) -> Callable[[], None]:
        def send() -> None:
            with self._lock:
                token = next(source)
            started = time.perf_counter()
            answer = _send(method, self._server.url + path, {**bearer(token), "X-Kind": name})
            if name == "unknown key, native":
                self.on_event_loop.append((time.perf_counter() - started) * 1000)
            self._count(name, answer)

        return send

    def _again_and_again(self, pool: ThreadPoolExecutor, send: Callable[[], None], every: float) -> None:
        """Whoever has to wait for the answer does not hold up the next one."""
        sent = []
        while not self._stopped.wait(every):
            sent.append(pool.submit(send))
        for future in sent:
            future.result()

    def _log_in_again_and_again(self, turn: int) -> None:
        pause = turn * LOGIN_EVERY / LOGINS / 5
        while not self._stopped.wait(pause):
            started = time.monotonic()
            browser = Browser(self._server)
            callback = self._provider.begin_login(browser, LOGS_IN)
            self._add_pending(1)
            headers = {**wire.NAVIGATION, **cookie(browser)}
            # Somebody for whom there is no place comes again when told to.
            while (answer := _send("GET", callback, headers)).status_code == 503 and not self._stopped.wait(
                int(answer.headers["Retry-After"])
            ):
                self._count("login, Flask", answer)
            self._count("login, Flask", answer)
            self._add_pending(-1)
            pause = max(0.0, LOGIN_EVERY - (time.monotonic() - started))


def _send(method: str, url: str, headers: Mapping[str, str]) -> requests.Response:
    """Without the checks of `wire.send`: their search for tokens takes CPU time that the server could use."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, headers=dict(headers), timeout=60, allow_redirects=False)


_STRANGER = tokens.Key.rsa()
# In the JSON for programs, and at the foot of a page.
_CODE = re.compile(r'"code": ?"(\w+)"|Code: (\w+)')
