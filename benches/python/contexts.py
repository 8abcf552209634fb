"""The functions inside Flask request contexts: only the call itself is timed."""

from __future__ import annotations

from pathlib import Path

import children
import table
from provider import Provider
from targets import Found

# Calls in a round. What takes long, or makes a row in a database, is called less often.
FEW = {
    "basic: no cache": 1,
    "original (reconstructed): bearer": 1,
    "careful Python: first sight": 1,
    "ours: first sight": 10,
    "careful Python: never seen RS256": 60,
    "mlflow-oidc-auth: bearer": 20,
    "mlflow-oidc-auth: session": 20,
}
MANY = 300
NEVER_SEEN = 60
# Invalid tokens must not lead to a call of the provider.
INVALID = ("ours: bad signature", "ours: expired", "ours: wrong audience")
THREADED = ("prototype: never seen RS256", "ours: never seen RS256", "ours: never seen ES256")


def measure(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints the table; the medians go to `found` by the name of the case."""
    settings = {"issuer": provider.issuer, "keys": str(folder / "keys")}
    home = children.home(folder / "contexts")
    worker = children.Child("worker.py", home, settings, **children.our_settings(provider.issuer))
    rival_home = children.home(folder / "contexts-rival")
    rival = children.Child(
        "rival.py", rival_home, settings, **children.rival_settings(provider.issuer, rival_home)
    )
    with children.children(worker, rival):
        names = {name: child for child in (worker, rival) for name in child.ask("prepare")}
        timings = {name: table.Timing() for name in names}
        asked: dict[str, int] = dict.fromkeys(INVALID, 0)
        for _ in range(2 if quick else 30):
            for name, child in names.items():
                count = FEW.get(name, NEVER_SEEN if _makes_tokens(name) else MANY)
                before = provider.asked.total()
                timings[name].samples += child.ask("round", case=name, count=count, warm=min(count, 10))
                if name in asked:
                    asked[name] += provider.asked.total() - before
        print(table.timings(timings))
        found.update({name: timing.median for name, timing in timings.items()})
        found.update({f"{name}, p99": timing.p99 for name, timing in timings.items()})
        found["calls for invalid tokens"] = sum(asked.values())
        print(f"\n{_threads(worker, quick, found)}")


def _makes_tokens(name: str) -> bool:
    return "never seen" in name or name in INVALID


def _threads(worker: children.Child, quick: bool, found: Found) -> str:
    rows, count = [], 100 if quick else 400
    for name in THREADED:
        single, double = [], []
        for _ in range(2 if quick else 9):
            single.append(worker.ask("threads", case=name, count=count, threads=1))
            double.append(worker.ask("threads", case=name, count=count, threads=2))
        # The best round of each: whoever else has a core for a while can only make them slower.
        one, two = max(single), max(double)
        found[f"{name}, two threads"] = two / one
        rows.append((name, table.figure(one), table.figure(two), f"{two / one:.2f}"))
    return table.markdown(("calls in a second, best round", "one thread", "two threads", "ratio"), rows)
