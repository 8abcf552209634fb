"""What the project has promised, as a table: what is divided by what, and how much it may be."""

from __future__ import annotations

from dataclasses import dataclass

import table

# By the name of a case: the median in microseconds, or whatever its layer says.
Found = dict[str, float]

IN_PROCESS = "in process, WSGI: "
AS_SERVED = "in process, ASGI: runs/log-metric: "


@dataclass(frozen=True)
class Target:
    """`measured` divided by `beside`, or as it is where there is none; at most `bound`, or at least."""

    says: str
    measured: str
    beside: str | None
    bound: float
    at_least: bool = False
    unit: str = "times"

    def value(self, found: Found) -> float | None:
        if self.measured not in found or (self.beside is not None and self.beside not in found):
            return None
        return found[self.measured] / (found[self.beside] if self.beside else 1)

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


def _never_seen(algorithm: str) -> Target:
    name = f"never seen {algorithm}"
    return Target(f"{name}, beside the prototype", f"ours: {name}", f"prototype: {name}", 1.15)


def _invalid(name: str) -> Target:
    return Target(f"{name}, beside a good token", f"ours: {name}", "ours: never seen RS256", 1.2)


TARGETS = (
    Target("remembered bearer, beside the prototype", "ours: remembered", "prototype: remembered", 1.35),
    Target("session, beside the prototype", "ours: session", "prototype: session", 1.35),
    Target("remembered bearer, p99 beside its median", "ours: remembered, p99", "ours: remembered", 8),
    Target("session, p99 beside its median", "ours: session, p99", "ours: session", 8),
    Target(
        "twelve calls in one request, beside the prototype",
        "ours: twelve calls",
        "prototype: twelve calls",
        0.5,
    ),
    _never_seen("RS256"),
    _never_seen("ES256"),
    _never_seen("EdDSA"),
    _invalid("bad signature"),
    _invalid("expired"),
    _invalid("wrong audience"),
    Target("calls of the provider for invalid tokens", "calls for invalid tokens", None, 0, unit=""),
    Target("garbage", "ours: garbage", None, 5, unit="µs"),
    Target("no credentials, beside an empty Response", "ours: no credentials", "empty response", 1.5),
    Target("first sight of a user", "ours: first sight", None, 2000, unit="µs"),
    Target(
        "never seen RS256, two threads beside one",
        "ours: never seen RS256, two threads",
        None,
        1.8,
        at_least=True,
    ),
    *(
        Target(f"import, CPU, beyond {there}", f"import after {there}", None, 15, unit="ms")
        for there in ("Flask and werkzeug", "MLflow's auth app")
    ),
    Target("calls of the provider while importing", "calls while importing", None, 0, unit=""),
    Target(
        "first call beyond the constant function's, beside one fetch of discovery and keys",
        "first answer beyond the constant function's",
        "discovery and keys",
        1,
    ),
    Target("a remembered token", "bytes a remembered token", None, 300, unit="bytes"),
    Target(
        "100,000 valid tokens, beyond the constant function", "MiB after valid tokens", None, 10, unit="MiB"
    ),
    Target("100,000 invalid tokens, beyond it", "MiB after invalid tokens", None, 0.5, unit="MiB"),
    *(
        Target(f"{case}, with many {what} beside few", f"growth: ours: {case}: {what}", None, 1.05)
        for what, cases in (
            ("users", ("remembered", "session", "never seen RS256")),
            ("keys", ("remembered", "never seen RS256")),
        )
        for case in cases
    ),
    *(
        Target(
            f"{page}, {by}, instructions beside the constant function", f"counted: {page}: {by}", None, 1.008
        )
        for page in ("experiments/get", "runs/log-metric", "runs/search", "GET /", "artifact (native)")
        for by in ("bearer", "session")
    ),
    *(
        Target(
            f"{page}, {how}, beside the constant function",
            f"{IN_PROCESS}{page}: {how}",
            f"{IN_PROCESS}{page}: constant",
            bound,
        )
        for page, bound in (("runs/log-metric", 0.6), ("experiments/get", 0.65))
        for how in ("ours, bearer", "ours, session")
    ),
    *(
        Target(
            f"runs/log-metric, {how}, beside mlflow-oidc-auth's session",
            f"{AS_SERVED}{how}",
            f"{AS_SERVED}mlflow-oidc-auth, session",
            1,
        )
        for how in ("ours, bearer", "ours, session")
    ),
)


def judged(found: Found) -> str:
    """Every target that something was measured for."""
    rows = []
    for target in TARGETS:
        value = target.value(found)
        if value is None:
            continue
        bound = f"{'at least' if target.at_least else 'at most'} {target.bound:g} {target.unit}".strip()
        measured = f"{table.figure(value)} {target.unit}".strip()
        rows.append((target.says, measured, bound, "met" if target.met(value) else "**NOT met**"))
    return table.markdown(("target", "measured", "bound", ""), rows)
