"""What was measured, as figures and as Markdown."""

from __future__ import annotations

import datetime
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from children import cores

PACKAGES = ("mlflow", "flask", "werkzeug", "PyJWT", "cryptography", "mlflow-oidc-auth", "mlflow-oidc")


@dataclass
class Timing:
    """The samples of one case, in nanoseconds."""

    samples: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Microseconds."""
        return statistics.median(self.samples) / 1000

    @property
    def p99(self) -> float:
        """Microseconds."""
        return sorted(self.samples)[int(len(self.samples) * 0.99)] / 1000

    @property
    def minimum(self) -> float:
        """Microseconds."""
        return min(self.samples) / 1000


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, the others are figures."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def figure(value: float) -> str:
    """Three digits that say something, and one more where it is about a few percent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1.5 else f"{value:.3f}"


def timings(found: dict[str, Timing]) -> str:
    rows = [
        (name, figure(one.median), figure(one.p99), figure(one.minimum), f"{len(one.samples):,}")
        for name, one in found.items()
    ]
    return markdown(("inside a Flask request context, µs", "median", "p99", "minimum", "calls"), rows)


def machine() -> str:
    """What the figures are of."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown",
    )
    load = _lines("/proc/loadavg")[0].split()[0]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return (
        f"{today}, {model}, {cores()} cores, Linux {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {packages}; load {load} at the end"
    )


def file_system(folder: Path) -> str:
    """What kind of file system a folder is on: the longest mount point that it is below."""
    mounts = (line.split()[1:3] for line in _lines("/proc/mounts"))
    below = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(below, key=lambda mount: len(mount[0]), default=("", "unknown"))[1]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
