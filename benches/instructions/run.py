"""Counts the instructions of each hot path and holds them against the record: `make instructions`.

With `--record` the record is written anew. Counts are the same from run to run within two percent, on a busy
machine and on a quiet one, so a path that grows by more than a tenth has grown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import keys  # noqa: E402
from provider import Provider  # noqa: E402

RECORD = HERE / "record.json"
TOLERANCE = 0.10
NOT_COUNTED = ", nothing done"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, required=True, help="the interpreter that has the wheel")
    parser.add_argument("--record", action="store_true", help="write the record instead")
    arguments = parser.parse_args()
    lacking = what_lacks()
    if lacking:
        print(f"Not counted: {lacking}.")
        return 1 if os.environ.get("CI") == "true" else 0
    found = count(arguments.python)
    version = python_of(arguments.python)
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if arguments.record:
        records[version] = found
        RECORD.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n")
        print(f"{RECORD.name} now has the counts of {version}.")
        return 0
    if version not in records:
        print(
            f"Nothing to hold them against: {RECORD.name} has no {version}; `make instructions RECORD=yes`."
        )
        return 1 if os.environ.get("CI") == "true" else 0
    return judge(found, records[version])


def what_lacks() -> str | None:
    if shutil.which("valgrind") is None:
        return "there is no valgrind"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "it is for Linux on x86-64"
    return None


def python_of(python: Path) -> str:
    program = "import platform as p; print(p.python_implementation(), *p.python_version_tuple()[:2])"
    implementation, major, minor = subprocess.run(
        [python, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    return f"{implementation} {major}.{minor}"


def count(python: Path) -> dict[str, int]:
    """Instructions of one call on each path, without those of the loop around it."""
    with tempfile.TemporaryDirectory(prefix="mlflow-oidc-instructions-") as name:
        folder = Path(name)
        signing = keys.make(folder / "keys")
        with Provider(signing) as provider:
            told = folder / "told.json"
            told.write_text(
                json.dumps({"issuer": provider.issuer, "tokens": tokens(provider.issuer, signing)})
            )
            numbers = run(python, told, folder)
    totals = totals_of(folder_files=numbers[1])
    return {
        path: round((totals[path] - totals[path + NOT_COUNTED]) / calls) for path, calls in numbers[0].items()
    }


def run(python: Path, told: Path, folder: Path) -> tuple[dict[str, int], list[str]]:
    output = folder / "callgrind.out"
    ended = subprocess.run(
        [
            *("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}", "-q"),
            *(python, "-B", "-P", HERE / "counted.py", told),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "python")])}
        | {"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
    )
    if ended.returncode != 0:
        raise SystemExit(f"*** the counted program failed:\n{ended.stdout}\n{ended.stderr}")
    counted = [json.loads(line) for line in ended.stdout.splitlines()]
    texts = [file.read_text() for file in folder.glob("callgrind.out.*")]
    return {line["name"]: line["count"] for line in counted}, texts


def totals_of(folder_files: list[str]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for text in folder_files:
        trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
        if trigger and total:
            totals[trigger[1]] = totals.get(trigger[1], 0) + int(total[1])
    return totals


def tokens(issuer: str, signing: dict[str, keys.Key]) -> dict[str, list[str]]:
    def many(count: int, algorithm: str = "RS256", **changes: object) -> list[str]:
        return [signing[algorithm].token(keys.claims(issuer, **changes)) for _ in range(count)]

    made = {f"never seen {algorithm}": many(55, algorithm) for algorithm in keys.ALGORITHMS}
    return made | {
        "remembered": many(1),
        "expired": many(605, exp=1_700_000_000, iat=1_699_999_000),
        "wrong audience": many(605, aud="another-client", azp="another-client"),
        "bad signature": [keys.tampered(token) for token in many(555)],
    }


def judge(found: dict[str, int], record: dict[str, int]) -> int:
    """The table; 1 when a path has grown by more than the tolerance, or is not in both."""
    print("| instructions of one call | record | now | |\n|---|---:|---:|---:|")
    grown = []
    for path in sorted({*found, *record}, key=lambda name: found.get(name, 0)):
        before, now = record.get(path), found.get(path)
        if before is None or now is None:
            grown.append(path)
            print(f"| {path} | {before or '-'} | {now or '-'} | not in both |")
            continue
        change = now / before - 1
        print(f"| {path} | {before:,} | {now:,} | {change:+.1%} |")
        if change > TOLERANCE:
            grown.append(path)
    if grown:
        print(f"*** {', '.join(grown)}: more than {TOLERANCE:.0%} above {RECORD.name}.", file=sys.stderr)
        print("*** Where that is meant, `make instructions RECORD=yes` writes the record.", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
