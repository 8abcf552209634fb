"""Writes the tables of docs/providers/README.md from what `make test-providers` has recorded.

`python3 tools/providers_table.py` puts them between the file's markers; with CI=true it only compares, dates
apart, and fails when they say something else. Nothing in them is written by hand: a cell is pytest's own
outcome.

Only the standard library is used here.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "providers" / "results"
DOCUMENT = ROOT / "docs" / "providers" / "README.md"
BEGIN, END = "<!-- written by tools/providers_table.py -->\n", "<!-- end -->\n"
SHARED = "every provider"
MISSING = "not run"

Record = dict[str, Any]


def main() -> int:
    """1 when something was not run, or when CI finds another table than the one that is there."""
    records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    document = DOCUMENT.read_text()
    before, _, rest = document.partition(BEGIN)
    current, _, after = rest.partition(END)
    if gone := columns(current) - {title(record) for record in records}:
        told = f"*** Not run: {', '.join(sorted(gone))}. docs/providers/README.md is left as it is."
        print(told, file=sys.stderr)
        return 1 if in_ci() else 0
    tables = written(records)
    if MISSING in tables:
        print("*** Only a part of the cases was run: `make test-providers` runs all.", file=sys.stderr)
        return 1
    if not in_ci():
        DOCUMENT.write_text(before + BEGIN + tables + END + after)
    elif undated(current) != undated(tables):
        print(
            f"*** The tables of docs/providers/README.md say something else than this run:\n{tables}"
            "`make test-providers` writes them.",
            file=sys.stderr,
        )
        return 1
    return 0


def written(records: list[Record]) -> str:
    """One table of the cases that all go through, and one for each further group of cases."""
    groups = dict.fromkeys(case["group"] for record in records for case in record["cases"])
    reasons: dict[str, int] = {}
    parts = []
    for group in sorted(groups, key=lambda name: name != SHARED):
        here = [record for record in records if any(case["group"] == group for case in record["cases"])]
        rows = [["" if group == SHARED else f"{group} alone", *map(title, here)], ["---"] * (len(here) + 1)]
        names = dict.fromkeys(
            case["case"] for record in here for case in record["cases"] if case["group"] == group
        )
        rows += [[name, *(cell(record, group, name, reasons) for record in here)] for name in names]
        if group == SHARED:
            rows.append(["with MLflow", *(record["mlflow"] for record in here)])
            rows.append(["run on", *(record["date"] for record in here)])
        parts.append("".join(f"| {' | '.join(row)} |\n" for row in rows))
    if reasons:
        parts.append("".join(f"{number}. Not there: {reason}.\n" for reason, number in reasons.items()))
    return "\n" + "\n".join(parts) + "\n"


def cell(record: Record, group: str, name: str, reasons: dict[str, int]) -> str:
    """What pytest said; what a provider cannot do is a number of the list below the tables."""
    for case in record["cases"]:
        if (case["group"], case["case"]) == (group, name):
            if case["outcome"] == "skipped":
                _, known, reason = case["reason"].partition("not there: ")
                return f"not there ({reasons.setdefault(reason, len(reasons) + 1)})" if known else MISSING
            return {"passed": "yes"}.get(case["outcome"], "**no**")
    return MISSING


def title(record: Record) -> str:
    """keycloak-26.7.5 is Keycloak 26.7.5."""
    name = record["name"].removesuffix(f"-{record['version']}")
    return f"{name[0].upper()}{name[1:]} {record['version']}"


def columns(tables: str) -> set[str]:
    """The providers that the tables show now."""
    head = tables.strip().partition("\n")[0]
    return {name for name in (part.strip() for part in head.split("|")) if name}


def undated(tables: str) -> str:
    """The tables without the days on which they were run."""
    return re.sub(r"\d{4}-\d{2}-\d{2}", "DATE", tables).strip()


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


if __name__ == "__main__":
    sys.exit(main())
