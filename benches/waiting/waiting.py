"""What others wait for while the provider takes five seconds, and how long we hold the event loop.

`make bench-waiting` prints three tables. The first two (MLflow 3.17.2, and 2.9.2 with threads) hold
requests of somebody who needs nothing of the provider, in phases that take turns: quiet; the storm of
support/storm.py before a provider that answers at once, which is what the storm's requests cost by
themselves; and the same storm before one that takes five seconds. The third holds the time of our function
on the event loop's thread. CPython's garbage collection, whose pauses are MLflow's and 0.2 s long, is kept
out of all of them.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from support import tokens, wire
from support.browser import Browser
from support.engines import Engines
from support.misbehaving import MisbehavingProvider
from support.probes import ARTIFACT, LET_THROUGH, TRACES, WHO, Asking, Probe, Taken, bearer, cookie, probes
from support.provider import CLIENT_ID
from support.server import MlflowServer, settings_for
from support.storm import Storm

# How many seconds the provider takes for each answer while it storms.
STORMY = {"storm, provider well": 0, "storm, provider takes 5 s": 5}
PHASES = ("quiet", *STORMY)
ROUNDS = 5
PHASE_SECONDS = 8
# How long it rains before anything is measured: by then every login is pending.
RAMP_SECONDS = 2
NEVER_SEEN = 3000
THREADS = ["--host", "127.0.0.1", "--workers", "1", "--gunicorn-opts", "--threads=40"]
THREADS += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
ENGINES = 10
STARTS = 3
BROWSERS = 10

Held = list[tuple[str, float, float]]


def main() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
        held = waiting(elsewhere, "3.17.2", ())
        waiting(elsewhere, "2.9.2", THREADS)
    print("\n### Our function on the event loop's thread (3.17.2), milliseconds\n")
    print("| call | calls | p50 | p99 | max | CPU p50 | CPU max |\n|---|---|---|---|---|---|---|")
    held_rows("quiet: ", one_by_one())
    for phase in PHASES:
        held_rows(f"{phase}: ", held[phase])


def waiting(elsewhere: ProcessPoolExecutor, version: str, arguments: Sequence[str]) -> dict[str, Held]:
    """Prints the table of one version; what is returned is the calls on its event loop, by phase."""
    provider = MisbehavingProvider()
    rounds: dict[str, list[dict[str, Taken]]] = {phase: [] for phase in PHASES}
    held: dict[str, Held] = {phase: [] for phase in PHASES}
    with tempfile.TemporaryDirectory() as folder:
        engines = started(version, provider, Path(folder), list(arguments))
        try:
            server = engines.server
            token, browser = provider.bearer(WHO), signed_in(server, provider)
            chosen = probes(provider, browser, token, NEVER_SEEN, server.modern)
            warm(server, chosen)
            storms = {phase: Storm(server, provider) for phase in STORMY}
            next(iter(storms.values())).introduce()
            server.call("POST", "/test/times")
            for _ in range(ROUNDS):
                for phase in PHASES:
                    times(server)
                    storm = storms.get(phase)
                    with storm.raging(STORMY[phase]) if storm else nullcontext():
                        time.sleep(RAMP_SECONDS)
                        rounds[phase].append(elsewhere.submit(ask, server.url, chosen).result())
                    held[phase] += times(server)
        finally:
            engines.server.stop()
    print(f"\n### Others, on MLflow {version}{' with 40 threads' if arguments else ''}, milliseconds\n")
    print("p50 / p99 / max, each the median of the rounds, but the largest max.\n")
    print(f"| request | {' | '.join(PHASES)} | p99, times quiet | refused |\n|---|---|---|---|---|---|")
    for probe in chosen:
        print(f"| {probe.name} | {' | '.join(row(probe.name, rounds))} |")
    for phase, storm in storms.items():
        print(f"\n{phase} was answered:")
        for name, found in sorted(storm.answers.items()):
            print(f"- {name}: {', '.join(f'{count} x {told}' for told, count in found.most_common())}")
        if storm.on_event_loop:
            print(f"\nUnknown keys on the event loop there: {told_of(spread(storm.on_event_loop))} ms")
    return held


def row(name: str, rounds: dict[str, list[dict[str, Taken]]]) -> list[str]:
    cells, ninety_nine = [], []
    for phase in PHASES:
        p50, p99, most = zip(*(spread(each[name].milliseconds) for each in rounds[phase]), strict=True)
        ninety_nine.append(statistics.median(p99))
        cells.append(told_of((statistics.median(p50), ninety_nine[-1], max(most))))
    every = [each[name] for phase in PHASES for each in rounds[phase]]
    refused = [line for taken in every for line in taken.refused]
    cells.append(f"{ninety_nine[-1] / ninety_nine[0]:.1f}")
    cells.append(
        f"{len(refused)} of {sum(len(taken.milliseconds) for taken in every)} {''.join(refused[:1])}"
    )
    return cells


def ask(url: str, chosen: list[Probe]) -> dict[str, Taken]:
    """In a process of its own: the storm's threads would be measured otherwise."""
    return Asking(url, chosen).ask(PHASE_SECONDS)


def one_by_one() -> Held:
    """Each kind of call on the event loop, on a server that has nothing else to do."""
    provider = MisbehavingProvider()
    found: Held = []
    for start in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            engines = started("3.17.2", provider, Path(folder), [])
            try:
                native(engines.server, "first request of a worker", bearer(provider.bearer(WHO)), 503)
                found += times(engines.server)
                if start == STARTS - 1:
                    found += kinds(engines, provider)
            finally:
                engines.server.stop()
    return found


def kinds(engines: Engines, provider: MisbehavingProvider) -> Held:
    server, settings = engines.server, settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="1")
    token = provider.bearer(WHO)
    browsers = [signed_in(server, provider) for _ in range(BROWSERS)]
    for _ in range(ENGINES):
        engines.fresh(settings)
        native(server, "first request of an engine", bearer(token), 503)
        server.call_native("POST", TRACES, token=token)
    claims = tokens.bearer_claims(provider.issuer, WHO, CLIENT_ID)
    stranger = tokens.Key.rsa()
    for browser in browsers:
        native(server, "new session", {**wire.XHR, **cookie(browser)})
    for browser in browsers * 5:
        native(server, "remembered session", {**wire.XHR, **cookie(browser)})
    for _ in range(3):
        time.sleep(2.1)
        for browser in browsers:
            native(server, "session read again", {**wire.XHR, **cookie(browser)})
    for _ in range(50):
        native(server, "remembered bearer", bearer(token))
        native(server, "never-seen bearer", bearer(provider.bearer(WHO)))
        native(server, "forged bearer", bearer(stranger.token(claims, kid=provider.key.kid)), 401)
        native(server, "unknown key", bearer(stranger.token(claims, kid=uuid.uuid4().hex)), 401, 503)
        native(server, "garbage", bearer("garbage"), 401)
        native(server, "no credentials", {}, 401)
    return times(server)


def started(version: str, provider: MisbehavingProvider, folder: Path, arguments: list[str]) -> Engines:
    def make(version: str, _: str, **more: Any) -> MlflowServer:
        return MlflowServer(version, folder, arguments=arguments or None, **more).start()

    return Engines(make, version, provider.issuer, function="timed:authenticate_request")


def signed_in(server: MlflowServer, provider: MisbehavingProvider) -> Browser:
    browser = Browser(server)
    answer = browser.open(provider.begin_login(browser, WHO))
    assert answer.status_code == 302, answer.text
    assert browser.signed_in()["username"] == f"{WHO}@example.org"
    return browser


def warm(server: MlflowServer, chosen: list[Probe]) -> None:
    """Until none of these is the first of its kind, which on the event loop may be asked to come again."""
    for probe in chosen:
        for _ in range(10):
            server.call_native(probe.method, probe.path, headers=probe.credentials[0])


def native(server: MlflowServer, kind: str, credentials: dict[str, str], *statuses: int) -> None:
    answer = wire.send("GET", server.url + ARTIFACT, headers={**credentials, "X-Kind": kind})
    assert answer.status_code in (statuses or LET_THROUGH[ARTIFACT]), f"{kind}: {answer.status_code}"


def times(server: MlflowServer) -> Held:
    answer = server.call("GET", "/test/times")
    return [(kind, took, used) for kind, took, used in answer.json()]


def held_rows(prefix: str, held: Held) -> None:
    by_kind = defaultdict(list)
    for kind, took, used in held:
        by_kind[kind or "others' requests"].append((took, used))
    for kind, pairs in by_kind.items():
        took, used = zip(*pairs, strict=True)
        cells = [f"{value:.3f}" for value in (*spread(took), statistics.median(used), max(used))]
        print(f"| {prefix}{kind} | {len(pairs)} | {' | '.join(cells)} |")


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1]


def told_of(values: Iterable[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


if __name__ == "__main__":
    main()
