"""How ``mlflow-oidc users`` prints: columns for people, JSON for programs, row by row.

Names, groups and subjects come from a provider's tokens, where people may be able to choose them: everything
goes through `printable` before a terminal sees it.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from mlflow_oidc import doctor
from mlflow_oidc.people import PAGE

# The exit statuses of a command.
DONE, REFUSED, MISUSED = 0, 1, 2

printable = doctor._printable


def misused(told: str) -> int:
    """Says how a command is used; the exit status for that."""
    print(f"mlflow-oidc users: {printable(told)}", file=sys.stderr)
    return MISUSED


def names(given: Sequence[str]) -> str:
    """Names in a line."""
    return ", ".join(given) or "none"


def objects(found: Iterable[dict[str, Any]]) -> int:
    """A list in JSON, row by row: a hundred thousand of them need no memory. The exit status."""
    begun = False
    for each in found:
        sys.stdout.write(f"{',' if begun else '['}\n{json.dumps(each)}")
        begun = True
    print("\n]" if begun else "[]")
    return DONE if begun else REFUSED


def columns(head: list[str], rows: Iterable[Sequence[str]]) -> bool:
    """Columns by the first page; what is longer after that pushes its line. Whether there was any row."""
    widths: list[int] = []
    page: list[list[str]] = []
    for row in rows:
        page.append([printable(cell) for cell in row])
        if len(page) == PAGE:
            widths = _page(head, widths, page)
            page = []
    if page:
        widths = _page(head, widths, page)
    return bool(widths)


def _page(head: list[str], widths: list[int], page: list[list[str]]) -> list[int]:
    lines = page if widths else [head, *page]
    widths = widths or [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    return widths


def time(seconds: int | None) -> str:
    """A time in seconds since 1970, in UTC; 0 and ``None`` are none."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ") if seconds else "-"


def date(seconds: int | None) -> str:
    """The day of it."""
    return time(seconds)[:10]
