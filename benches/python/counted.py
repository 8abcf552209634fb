"""Instructions of whole requests, counted by callgrind: what a clock cannot tell from noise."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from pathlib import Path

import children
import table
from pages import pages
from provider import Provider
from targets import Found
from wholes import home, template

# The requests of a short and of a long count; the difference is free of what is done once in a count.
SHORT, LONG = 5, 25
# Under callgrind a request takes a hundred times as long, and no session must be read again for that. What
# is remembered of permissions is left out, because this is about the function alone.
SLOWED = {"OIDC_SESSION_CACHE_SECONDS": "60", "OIDC_PERMISSION_CACHE_SECONDS": "0", "PYTHONHASHSEED": "0"}
WAYS = ("bearer", "session")


def measure(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints the table; without valgrind one line."""
    if shutil.which("valgrind") is None:
        print("Left out: no valgrind on the PATH.")
        return
    seeded = template(folder, provider)
    settings = {"issuer": provider.issuer, "keys": str(folder / "keys"), "template": str(seeded)}
    made = {}
    for kind in ("constant", "mlflow-oidc"):
        where, variables = home(folder / f"counted-{kind}", kind, provider, seeded)
        made[kind] = children.Child(
            "whole.py",
            where,
            {**settings, "kind": kind},
            before=("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=counted"),
            _MLFLOW_SGI_NAME="uvicorn",
            **{**variables, **SLOWED},
        )
    rows = []
    with children.children(*made.values()):
        # The same cookie for both, so that both get the same bytes.
        made["constant"].ask("keep", cookie=made["mlflow-oidc"].ask("sign_in"))
        for name, page in pages("").items():
            if quick and name not in ("experiments/get", "artifact (native)"):
                continue
            row = [name]
            for by in WAYS:
                counts = {
                    kind: _counted(child, name, by, "asgi" if page.native else "wsgi", 1 if quick else 3)
                    for kind, child in made.items()
                }
                constant, ours = counts["constant"], counts["mlflow-oidc"]
                found[f"counted: {name}: {by}"] = ours / constant
                row += [
                    f"{constant / 1000:,.0f}",
                    f"{ours / 1000:,.0f}",
                    f"{(ours / constant - 1) * 100:+.2f} %",
                ]
            rows.append(row)
    head = [f"{by}, {who}" for by in WAYS for who in ("constant", "ours", "more")]
    print(table.markdown(("thousand instructions a request", *head), rows))


def _counted(child: children.Child, page: str, by: str, mode: str, rounds: int) -> float:
    """Instructions of one request."""
    child.ask(mode, page=page, by=by, count=SHORT)
    return statistics.median(
        (_total(child, page, by, mode, LONG) - _total(child, page, by, mode, SHORT)) / (LONG - SHORT)
        for _ in range(rounds)
    )


def _total(child: children.Child, page: str, by: str, mode: str, count: int) -> int:
    for order in ("--instr=on", "--zero"):
        _control(child, order)
    child.ask(mode, page=page, by=by, count=count, warm=0)
    _control(child, "--dump")
    _control(child, "--instr=off")
    dumped = max(child.folder.glob("counted.*"), key=lambda path: int(path.suffix[1:]))
    (line,) = (line for line in dumped.read_text().splitlines() if line.startswith("totals:"))
    return int(line.split()[1])


def _control(child: children.Child, order: str) -> None:
    done = subprocess.run(
        ["callgrind_control", order, str(child.pid)],
        cwd=child.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(child.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or "OK." not in done.stdout:
        raise children.Failed(f"callgrind_control {order}: {done.stdout}{done.stderr}\n{child.log_tail()}")
