"""The texts of tests/vectors/next.txt, which explains its own form."""

from __future__ import annotations

import json
import re
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "vectors" / "next.txt"
PARTS = ("start", "here", "query", "kept")


def texts(part: str) -> list[str]:
    """What stands below `[part]`, with its names not yet filled in."""
    found: dict[str, list[str]] = {name: [] for name in PARTS}
    current = ""
    for line in FILE.read_text("ascii").splitlines():
        if line in {f"[{name}]" for name in PARTS}:
            current = line[1:-1]
        elif line and not line.startswith("#"):
            found[current].append(json.loads(f'"{line}"'))
    assert all(found.values()), {name: len(lines) for name, lines in found.items()}
    return found[part]


def filled(text: str, base: str, host: str) -> str:
    """A text as it is tried behind this base on this host."""
    text = text.replace("BASE", base).replace("HOST", host)
    return re.sub(r"REPEAT\((\d+),([^)]*)\)", lambda found: found[2] * int(found[1]), text)
