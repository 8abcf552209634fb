"""Which MLflow is tried on which Python under which server, and the table of what came of it.

`python3 tools/matrix.py environments CHOICE` prints the names of the environments for tools/venvs.py;
`python3 tools/matrix.py table` writes the results of the last runs into docs/compatibility.md.
CHOICE is `spread` (what `make test` runs), `all`, or words such as `3.9.0 3.14.0 py3.10 default`.

Only the standard library is used here, because tools/venvs.py reads the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "matrix" / "results.json"
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- the table begins -->", "<!-- the table ends -->"

PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Release:
    """An MLflow: its servers, the default one first, and the newest Python that it can be installed on."""

    version: str
    servers: tuple[str, ...] = ("uvicorn", "gunicorn")
    newest_python: str = PYTHONS[-1]

    def pythons(self) -> tuple[str, ...]:
        """All that it is tried on."""
        return PYTHONS[: PYTHONS.index(self.newest_python) + 1]


RELEASES = (
    # Its command line calls entry_points().get, which Python 3.12 no longer has.
    Release("2.9.2", servers=("gunicorn",), newest_python="3.11"),
    Release("2.22.5", servers=("gunicorn",)),
    Release("3.2.0", servers=("gunicorn",)),
    Release("3.4.0"),
    Release("3.5.1"),
    Release("3.9.0"),
    Release("3.10.1"),
    Release("3.12.0"),
    Release("3.14.0"),
    Release("3.15.2"),
    Release("3.16.1"),
    Release("3.17.2"),
)


@dataclass(frozen=True)
class Cell:
    """One MLflow on one Python under one server."""

    version: str
    python: str
    server: str

    @property
    def environment(self) -> str:
        """What stands after `mlflow-` in the name of its virtual environment."""
        return f"{self.version}-py{self.python}"

    @property
    def name(self) -> str:
        """For people and for pytest."""
        return f"mlflow{self.version}-py{self.python}-{self.server}"


CELLS = tuple(
    Cell(release.version, python, server)
    for release in RELEASES
    for python in release.pythons()
    for server in release.servers
)
# One of each kind that tests/python does not have: MLflow 3 on Flask alone (3.2), routes that nobody guards
# (3.4), the gateway alone (3.9), 500 on all (3.14), MLflow's own bridge (3.15), a newer one under gunicorn.
SPREAD = (
    Cell("3.2.0", "3.12", "gunicorn"),
    Cell("3.4.0", "3.10", "uvicorn"),
    Cell("3.9.0", "3.11", "uvicorn"),
    Cell("3.14.0", "3.13", "uvicorn"),
    Cell("3.15.2", "3.12", "uvicorn"),
    Cell("3.16.1", "3.11", "gunicorn"),
)


def chosen(choice: str) -> tuple[Cell, ...]:
    """The cells of `spread`, or of words of three kinds: versions, `py3.10`, and servers (`default` too).

    Of each kind that is named a cell must have one; `all` names none. Raises ValueError for other words.
    """
    words = set(choice.split()) - {"all"}
    if choice.split() in ([], ["spread"]):
        return SPREAD
    kinds = (
        {release.version for release in RELEASES},
        {f"py{python}" for python in PYTHONS},
        {server for release in RELEASES for server in release.servers} | {"default"},
    )
    if strange := words.difference(*kinds):
        raise ValueError(f"not in the matrix: {' '.join(sorted(strange))}; see tools/matrix.py")
    return tuple(
        cell for cell in CELLS if all(not words & kind or words & kind & _words(cell) for kind in kinds)
    )


def _words(cell: Cell) -> set[str]:
    """Every word that means this cell."""
    default = next(release.servers[0] for release in RELEASES if release.version == cell.version)
    words = {cell.version, f"py{cell.python}", cell.server}
    return words | {"default"} if cell.server == default else words


def main() -> int:
    """1 with one clear line when the choice is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("environments").add_argument("choice", nargs="*", default=["spread"])
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "table":
        write_table()
        return 0
    try:
        cells = chosen(" ".join(arguments.choice))
    except ValueError as fault:
        print(f"*** {fault}", file=sys.stderr)
        return 1
    print(*dict.fromkeys(f"mlflow-{cell.environment}" for cell in cells))
    return 0


Results = dict[str, dict[str, Any]]


def read() -> Results:
    """By the name of a cell: `day`, and `cases` with [outcome, reason] for each."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def write(results: Results) -> None:
    """Keeps what other runs have found of other cells."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({**read(), **results}, indent=1, sort_keys=True))


def write_table() -> None:
    """Puts the table of all results between the two markers of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(read())}\n{END}{after}")
    print(f"The table is in {PAGE.relative_to(ROOT)}.")


def table(results: Results) -> str:
    """Cells first, then cases."""
    days = sorted({result["day"] for result in results.values()})
    when = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "never"
    lines = [
        f"Run on {when}: {len(results)} of {len(CELLS)} cells. A number is how many cases passed; `+ n -` "
        "are cases that this cell has not; the second table says why.",
        "",
        f"| MLflow | server | {' | '.join(f'Python {python}' for python in PYTHONS)} |",
        f"|---|---|{'---|' * len(PYTHONS)}",
    ]
    for release in RELEASES:
        for server in release.servers:
            title = f"{server} (default)" if server == release.servers[0] else server
            row = [_cell_entry(release, python, server, results) for python in PYTHONS]
            lines.append(f"| {release.version} | {title} | {' | '.join(row)} |")
    lines += ["", *_cases(results)]
    return "\n".join(lines) + "\n"


def _cell_entry(release: Release, python: str, server: str, results: Results) -> str:
    if python not in release.pythons():
        return "MLflow does not start"
    result = results.get(Cell(release.version, python, server).name)
    if result is None:
        return "not run"
    outcomes = [outcome for outcome, _ in result["cases"].values()]
    passed, absent = outcomes.count("passed"), outcomes.count("not there")
    told = f"{passed}" + (f" + {absent} -" if absent else "")
    failed = len(outcomes) - passed - absent
    return f"**{failed} failed**, {told}" if failed else told


def _cases(results: Results) -> list[str]:
    """What each case came to, by version and server, over all Pythons."""
    heads = [(release.version, server) for release in RELEASES for server in release.servers]
    short = [f"{version} {server[0]}" for version, server in heads]
    cases = list(dict.fromkeys(case for result in results.values() for case in result["cases"]))
    lines = [
        "`u` is uvicorn, `g` gunicorn; `ok` passed on every Python that was run, `-` not there, `.` not run.",
        "",
        f"| case | {' | '.join(short)} |",
        f"|---|{'---|' * len(heads)}",
    ]
    reasons: dict[str, dict[str, None]] = {}
    for case in cases:
        row = []
        for version, server in heads:
            found = [
                result["cases"][case]
                for python in PYTHONS
                if (result := results.get(Cell(version, python, server).name)) and case in result["cases"]
            ]
            for outcome, reason in found:
                if outcome == "not there":
                    reasons.setdefault(reason, {})[case] = None
            outcomes = {outcome for outcome, _ in found}
            if outcomes - {"passed", "not there"}:
                row.append("**failed**")
            elif "passed" in outcomes:
                row.append("ok")
            else:
                row.append("-" if outcomes else ".")
        lines.append(f"| {case} | {' | '.join(row)} |")
    lines += ["", "Not there, and why:", ""]
    return [
        *lines,
        *(f"- {reason[0].upper()}{reason[1:]}: {', '.join(of)}." for reason, of in reasons.items()),
    ]


if __name__ == "__main__":
    sys.exit(main())
