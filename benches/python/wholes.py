"""Whole requests, in process and over HTTP, of every contestant by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import children
import table
from pages import LEFT_OUT, pages
from provider import Provider
from targets import Found

# The process, how it is asked, and the name of the column.
CONTESTANTS = (
    ("no auth", "none", "no auth"),
    ("constant", "none", "constant"),
    ("mlflow-oidc", "bearer", "ours, bearer"),
    ("mlflow-oidc", "session", "ours, session"),
    ("mlflow-oidc-auth", "bearer", "mlflow-oidc-auth, bearer"),
    ("mlflow-oidc-auth", "session", "mlflow-oidc-auth, session"),
)
KINDS = tuple(dict.fromkeys(kind for kind, _, _ in CONTESTANTS))
FUNCTIONS = {"constant": "constant:authenticate_request", "mlflow-oidc": children.OURS}

# (process, page, how) and how many -> nanoseconds
Ask = Callable[[str, str, str, int], list[int]]


def template(folder: Path, provider: Provider) -> Path:
    """The databases that all start from; made once in a run."""
    made = folder / "template"
    if not made.exists():
        children.home(made)
        settings = {"issuer": provider.issuer, "keys": str(folder / "keys")}
        for program, variables in (
            ("seed.py", children.our_settings(provider.issuer)),
            ("seed_rival.py", children.rival_settings(provider.issuer, made)),
        ):
            child = children.Child(program, made, settings, **variables)
            if child.wait() != 0:
                raise children.Failed(f"{child.name} failed:\n{child.log_tail()}")
    return made


def home(folder: Path, kind: str, provider: Provider, seeded: Path) -> tuple[Path, dict[str, str]]:
    """A folder for a server of that kind, and its variables."""
    made = children.home(folder, FUNCTIONS.get(kind, children.OURS), seeded)
    more = children.rival_settings(provider.issuer, made) if kind == "mlflow-oidc-auth" else {}
    if kind == "mlflow-oidc":
        more = children.our_settings(provider.issuer)
    # One folder of artifacts for all: it is only read.
    return made, {**more, "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(seeded / "artifacts")}


def in_process(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints two tables: MLflow's Flask app called as by a WSGI server, and each app as by uvicorn."""
    seeded = template(folder, provider)
    settings = {"issuer": provider.issuer, "keys": str(folder / "keys"), "template": str(seeded)}
    made = {}
    for kind in KINDS:
        where, variables = home(folder / f"whole-{kind.replace(' ', '-')}", kind, provider, seeded)
        told = {**settings, "kind": kind}
        made[kind] = children.Child("whole.py", where, told, _MLFLOW_SGI_NAME="uvicorn", **variables)
    with children.children(*made.values()):
        for mode in ("wsgi", "asgi"):

            def ask(kind: str, page: str, by: str, count: int, mode: str = mode) -> list[int]:
                answer: list[int] = made[kind].ask(mode, page=page, by=by, count=count)
                return answer

            without = {("mlflow-oidc-auth", page) for page in pages("")} if mode == "wsgi" else set()
            without |= {(kind, "artifact (native)") for kind in KINDS} if mode == "wsgi" else set()
            print(compared(f"in process, {mode.upper()}", ask, without, quick, found), "\n")


def compared(title: str, ask: Ask, without: set[tuple[str, str]], quick: bool, found: Found) -> str:
    """Every page and every contestant by turns, as a table; the medians go to `found`."""
    rows: dict[str, dict[str, table.Timing]] = {page: {} for page in pages("")}
    for _ in range(2 if quick else 20):
        for page, row in rows.items():
            for kind, by, column in CONTESTANTS:
                if (kind, page) in without or (kind, page) in LEFT_OUT:
                    continue
                timing = row.setdefault(column, table.Timing())
                timing.samples += ask(kind, page, by, 5 if quick else 15)
    for page, row in rows.items():
        for column, timing in row.items():
            found[f"{title}: {page}: {column}"] = timing.median
    return table.markdown(
        (f"{title}, ms, median (minimum)", *(column for _, _, column in CONTESTANTS)),
        (_cells(page, row) for page, row in rows.items() if row),
    )


def _cells(page: str, row: dict[str, table.Timing]) -> Iterable[str]:
    yield page
    for _, _, column in CONTESTANTS:
        timing = row.get(column)
        yield f"{timing.median / 1000:.2f} ({timing.minimum / 1000:.2f})" if timing else "-"
