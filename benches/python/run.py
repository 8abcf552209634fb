"""Measures the installed wheel beside its baselines: `make bench-python`, or with BENCH=--quick in a minute.

What is compared is timed in one run and by turns: a round of the one, a round of the other, and again, so
that whatever disturbs the machine disturbs all of them. An answer that is not the right one ends the run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import contexts
import counted
import growth
import keys
import scale
import served
import startup
import table
import targets
import wholes
from children import Failed
from provider import Provider

MEMORY = Path("/dev/shm")
# Each prints a table and returns what the targets are judged by.
LAYERS = {
    "contexts": contexts.measure,
    "growth": growth.latency,
    "memory": growth.memory,
    "scale": scale.measure,
    "start": startup.measure,
    "whole": wholes.in_process,
    "http": served.measure,
    "instructions": counted.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that the bench works")
    parser.add_argument("--only", action="append", choices=sorted(LAYERS), help="one layer, or several")
    parser.add_argument(
        "--folder",
        type=Path,
        default=MEMORY if MEMORY.is_dir() else None,
        help="where the databases are made: in memory where it can be",
    )
    arguments = parser.parse_args()
    found: targets.Found = {}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlflow-oidc-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        system = table.file_system(folder)
        signing = keys.make(folder / "keys")
        try:
            with Provider(signing) as provider:
                for layer in arguments.only or LAYERS:
                    print(f"\n## {layer}\n", flush=True)
                    LAYERS[layer](folder, provider, arguments.quick, found)
        except Failed as fault:
            print(f"*** nothing is reported: {fault}", file=sys.stderr)
            return 1
    print(f"\n## targets\n\n{targets.judged(found)}\n")
    told = f"databases on {system}; {time.monotonic() - begin:.0f} s{'; --quick' if arguments.quick else ''}"
    print(f"{table.machine()}; {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
