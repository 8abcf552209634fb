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
import keys
import table
import targets
from children import Failed
from provider import Provider

# Each prints a table and returns what the targets are judged by.
LAYERS = {"contexts": contexts.measure}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that the bench works")
    parser.add_argument("--only", action="append", choices=sorted(LAYERS), help="one layer, or several")
    arguments = parser.parse_args()
    found: targets.Found = {}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlflow-oidc-bench-") as name:
        folder = Path(name)
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
    print(f"{table.machine()}; {time.monotonic() - begin:.0f} s{'; --quick' if arguments.quick else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
