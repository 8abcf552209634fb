"""What others notice while the provider hangs, logins wait, keys run out and bad tokens come."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import children
import keys
import login
import table
from pages import EXPERIMENT
from provider import Provider
from served import Server
from targets import Found
from wholes import home, template

DELAY = 5.0
LOGINS = 50
# Bad tokens of each kind in a second.
RATE = 10
# How long the provider says that its keys are good: they run out again and again.
KEYS_FOR = 2
EXPERIMENTS = f"/api/2.0/mlflow/experiments/get?experiment_id={EXPERIMENT}"
PATIENCE = 60
KINDS = (
    "remembered",
    "session",
    "never seen RS256",
    "never seen ES256",
    "bad signature",
    "unknown kid",
    "newcomer",
)


class Person:
    """Asks one address again and again, and notes how long each answer took and what it was."""

    def __init__(self, port: int, target: str, make: Callable[[], dict[str, str]], pause: float) -> None:
        self.milliseconds: list[float] = []
        self.statuses: list[int] = []
        self._port, self._target, self._make, self._pause = port, target, make, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _live(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._over.is_set():
            sent = self._make()
            begin = time.perf_counter()
            try:
                connection.request("GET", self._target, None, sent)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
            except (OSError, http.client.HTTPException):
                connection.close()
                self.statuses.append(0)
            self.milliseconds.append((time.perf_counter() - begin) * 1000)
            self._over.wait(self._pause)
        connection.close()

    def p99(self) -> float:
        return sorted(self.milliseconds)[int(len(self.milliseconds) * 0.99)]


People = dict[str, Person]


def measure(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints the table: the same people, first in quiet and then while the provider hangs."""
    seeded = template(folder, provider)
    run = (seeded / "run").read_text()
    signing = keys.load(folder / "keys")["RS256"]
    token = signing.token(keys.claims(provider.issuer))
    where, variables = home(folder / "waiting", "mlflow-oidc", provider, seeded)
    server = Server("mlflow-oidc", where, variables, run, token)
    try:
        server.wait_until_ready()
        artifact = server.pages["artifact (native)"].target
        server.measure("users/current", "session", 1)
        cookie = server.cookie or ""
        others = {
            "bearer, experiments/get": (EXPERIMENTS, {"Authorization": f"Bearer {token}"}),
            "session, experiments/get": (EXPERIMENTS, {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}),
            "bearer, artifact (native)": (artifact, {"Authorization": f"Bearer {token}"}),
        }
        seconds = 6 if quick else 20
        provider.keys_for = KEYS_FOR
        # The first requests of a server are slow, and are nobody's fault.
        _asked(server.port, others, 1, {})
        quiet = _asked(server.port, others, seconds, {})
        provider.delay = DELAY
        bad = _bad(signing, provider.issuer, artifact)
        threading.Thread(target=_log_in_by_turns, args=(server.port, provider), daemon=True).start()
        hanging = _asked(server.port, others, seconds, bad)
    finally:
        provider.delay = 0
        provider.keys_for = 3600
        server.stop()
    for name in bad:
        if let_in := [status for status in hanging[name].statuses if status < 400]:
            raise children.Failed(f"{name}: let in with {let_in}")
    print(_whole_requests(others, bad, quiet, hanging, found))
    print(f"\n{_on_the_loop(folder, provider, quick, found)}")


def _whole_requests(
    others: Iterable[str], bad: Iterable[str], quiet: People, hanging: People, found: Found
) -> str:
    rows = []
    for name in (*others, *bad):
        one, other = quiet.get(name), hanging[name]
        figures = (table.figure(one.p99()), table.figure(max(one.milliseconds))) if one else ("-", "-")
        rows.append(
            (name, *figures, table.figure(other.p99()), table.figure(max(other.milliseconds)), _told(other))
        )
    found["waiting: most"] = max(max(hanging[name].milliseconds) for name in others)
    found["waiting: p99"] = max(hanging[name].p99() / quiet[name].p99() for name in others)
    found["waiting: refused"] = sum(status != 200 for name in others for status in hanging[name].statuses)
    found["waiting: unknown kid"] = max(hanging["unknown kid, artifact (native)"].milliseconds)
    head = ("ms", "quiet, p99", "quiet, most", "hanging, p99", "hanging, most", "answers while it hangs")
    return table.markdown(head, rows)


def _on_the_loop(folder: Path, provider: Provider, quick: bool, found: Found) -> str:
    """How long a call holds the event loop, of every kind, while the provider hangs."""
    settings = {"issuer": provider.issuer, "keys": str(folder / "keys")}
    where = children.home(folder / "loop")
    child = children.Child("worker.py", where, settings, **children.our_settings(provider.issuer))
    with children.children(child):
        child.ask("prepare")
        provider.delay = DELAY
        try:
            held = {
                kind: table.Timing(child.ask("loop", kind=kind, count=100 if quick else 1000))
                for kind in KINDS
            }
        finally:
            provider.delay = 0
    found["event loop held"] = max(timing.p99 for timing in held.values()) / 1000
    rows = [
        (kind, *(table.figure(us / 1000) for us in (one.median, one.p99, max(one.samples) / 1000)))
        for kind, one in held.items()
    ]
    return table.markdown(("event loop held by one call, ms", "median", "p99", "most"), rows)


def _told(person: Person) -> str:
    return ", ".join(
        f"{person.statuses.count(status):,} x {status}" for status in sorted(set(person.statuses))
    )


def _asked(
    port: int,
    others: dict[str, tuple[str, dict[str, str]]],
    seconds: float,
    bad: dict[str, tuple[str, Callable[[], dict[str, str]]]],
) -> dict[str, Person]:
    people = {
        name: Person(port, target, lambda sent=sent: sent, 0.02) for name, (target, sent) in others.items()
    }
    people |= {name: Person(port, target, make, 1 / RATE) for name, (target, make) in bad.items()}
    for person in people.values():
        person.start()
    time.sleep(seconds)
    for person in people.values():
        person.end()
    return people


def _bad(
    signing: keys.Key, issuer: str, artifact: str
) -> dict[str, tuple[str, Callable[[], dict[str, str]]]]:
    stranger = keys.generate("ES256", "unknown")

    def forged() -> dict[str, str]:
        return {"Authorization": f"Bearer {keys.tampered(signing.token(keys.claims(issuer)))}"}

    def unknown() -> dict[str, str]:
        key = keys.Key(stranger.private, "ES256", f"unknown-{time.monotonic_ns()}")
        return {"Authorization": f"Bearer {key.token(keys.claims(issuer))}"}

    return {
        "forged, experiments/get": (EXPERIMENTS, forged),
        "unknown kid, experiments/get": (EXPERIMENTS, unknown),
        "forged, artifact (native)": (artifact, forged),
        "unknown kid, artifact (native)": (artifact, unknown),
    }


def _log_in_by_turns(port: int, provider: Provider) -> None:
    """Not all in one instant: that would be the work of a hundred requests, and no waiting."""
    for _ in range(LOGINS):
        threading.Thread(target=_log_in, args=(port, provider), daemon=True).start()
        time.sleep(DELAY / LOGINS)


def _log_in(port: int, provider: Provider) -> None:
    """One login that comes back from the provider and waits for its token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/oidc/login?next=%2F&go=1", None, login.NAVIGATION)
        begun = connection.getresponse()
        begun.read()
        asked = dict(parse_qsl(urlsplit(begun.headers["Location"]).query))
        # The person has been quick at the provider; it is the server's own questions that hang.
        back = urlsplit(provider.authorized(asked))
        cookie = begun.headers["Set-Cookie"].partition(";")[0]
        connection.request("GET", f"{back.path}?{back.query}", None, {**login.NAVIGATION, "Cookie": cookie})
        connection.getresponse().read()
    finally:
        connection.close()
