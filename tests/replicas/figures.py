"""What was seen, for the table in docs/replicas.md: written where MLFLOW_OIDC_FIGURES names a file."""

from __future__ import annotations

import os
from pathlib import Path

from support.actors import Actors


def note(fault: str, actors: Actors, since: float) -> None:
    """A row for each kind of asker: what it was told how often, and how long after `since` it was well."""
    if (path := os.environ.get("MLFLOW_OIDC_FIGURES")) is None:
        return
    with Path(path).open("a") as table:
        for who, counts in actors.all_counts().items():
            told = ", ".join(f"{number} x {what}" for what, number in sorted(counts.items()))
            bad = [each.ended for each in actors.told if each.who == who and each.what != "200"]
            healed = max([ended - since for ended in bad if ended > since], default=0)
            slowest = max(each.ended - each.began for each in actors.told if each.who == who)
            table.write(f"| {fault} | {who} | {told} | {healed:.1f} s | {slowest:.1f} s |\n")
