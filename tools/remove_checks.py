"""Takes every check out of the given sources, one at a time, and says which ones no test missed.

cargo-mutants changes operators and whole functions; what it leaves are checks without an operator (`if
claims.contains_key("cnf")`), the members of lists (`["crit", "b64"]`) and statements that only refuse
(`check_type(claims)?;`). This does those three. It edits the working tree and puts it back: run it in a copy.

    python tools/remove_checks.py [--list] FILE... -- COMMAND...

COMMAND builds and tests; exit status 0 means that nobody missed the check. A removal that does not compile
counts apart: the compiler misses it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REFUSING_STATEMENT = re.compile(r"^ *(?!let\b|return\b)[A-Za-z_][\w:.]*\([^;{}]*\)\?;$", re.MULTILINE)
LIST_OF_TEXTS = re.compile(r"\[\s*(?:(?:\"[^\"]*\"|'[^']*'),?\s*){2,}\]")
TEXT = re.compile(r"\"[^\"]*\"|'[^']*'")
CONDITION = re.compile(r"\bif ")
DID_NOT_COMPILE = re.compile(r"error(\[E\d+\])?: (?!test failed)")


@dataclass(frozen=True)
class Removal:
    """One edit of one file."""

    path: Path
    begin: int
    end: int
    replacement: str
    what: str

    def line(self, text: str) -> int:
        return text.count("\n", 0, self.begin) + 1

    def applied(self, text: str) -> str:
        return text[: self.begin] + self.replacement + text[self.end :]


def conditions(path: Path, text: str) -> Iterator[Removal]:
    """Each `if`, never taken and always taken; with a pattern in it only the former can be written."""
    for found in CONDITION.finditer(text):
        begin = found.end()
        if _in_comment(text, begin):
            continue
        end = _end_of_condition(text, begin)
        if end is None:
            continue
        condition = text[begin:end].strip()
        if re.search(r"\blet ", condition):
            yield Removal(path, begin, end, f"{condition} && false ", f"never: if {_told(condition)}")
        else:
            yield Removal(path, begin, end, f"false && ({condition}) ", f"never: if {_told(condition)}")
            yield Removal(path, begin, end, f"true || ({condition}) ", f"always: if {_told(condition)}")
        for operator, neutral in (("||", "false"), ("&&", "true")):
            for start, stop in _operands(text, begin, end, operator):
                operand = text[start:stop]
                if "let " not in operand:
                    yield Removal(path, start, stop, f" {neutral} ", f"without {_told(operand)}")


def members(path: Path, text: str) -> Iterator[Removal]:
    """Each member of a list of texts, replaced by one that stands for nothing."""
    for found in LIST_OF_TEXTS.finditer(text):
        for member in TEXT.finditer(text, found.start(), found.end()):
            nothing = '"\\u{1}"' if member.group().startswith('"') else "'\\u{1}'"
            yield Removal(path, member.start(), member.end(), nothing, f"member {member.group()}")


def statements(path: Path, text: str) -> Iterator[Removal]:
    """Each statement that does nothing but refuse."""
    for found in REFUSING_STATEMENT.finditer(text):
        yield Removal(path, found.start(), found.end(), "", f"statement {' '.join(found.group().split())}")


def removals(path: Path) -> list[Removal]:
    text = path.read_text()
    kinds = (conditions, members, statements)
    return sorted((removal for kind in kinds for removal in kind(path, text)), key=lambda r: r.begin)


def _told(code: str) -> str:
    return " ".join(code.split())


def _operands(text: str, begin: int, end: int, operator: str) -> list[tuple[int, int]]:
    """The parts of a condition between this operator, outside of parentheses; none without the operator."""
    depth, start, found = 0, begin, []
    for position in range(begin, end):
        letter = text[position]
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and text.startswith(operator, position):
            found.append((start, position))
            start = position + len(operator)
    return [*found, (start, end)] if found else []


def _in_comment(text: str, position: int) -> bool:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return "//" in line


def _end_of_condition(text: str, begin: int) -> int | None:
    """Where the block begins: the first brace outside of parentheses. A guard of a `match` has `=>` first."""
    depth = 0
    for position in range(begin, len(text)):
        letter = text[position]
        if letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif depth == 0 and letter == "{":
            return position
        elif depth <= 0 and (text.startswith("=>", position) or letter in ";"):
            return None
    return None


def outcome(removal: Removal, command: list[str]) -> str:
    """`missed` when a test turned red, `unviable` when it does not compile, else `survived`."""
    text = removal.path.read_text()
    removal.path.write_text(removal.applied(text))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    except subprocess.TimeoutExpired:
        return "missed"
    finally:
        removal.path.write_text(text)
    if done.returncode == 0:
        return "survived"
    return "unviable" if DID_NOT_COMPILE.search(done.stderr) else "missed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="only list what would be taken out")
    parser.add_argument("files", nargs="+", type=Path)
    ours, _, command = " ".join(sys.argv[1:]).partition(" -- ")
    arguments = parser.parse_args(ours.split())
    found = [removal for path in arguments.files for removal in removals(path)]
    counts = {"missed": 0, "unviable": 0, "survived": 0}
    for removal in found:
        place = f"{removal.path}:{removal.line(removal.path.read_text())}: {removal.what}"
        if arguments.list:
            print(place)
            continue
        begun = time.monotonic()
        result = outcome(removal, command.split())
        counts[result] += 1
        print(f"{result:9} {time.monotonic() - begun:4.0f} s  {place}", flush=True)
    if arguments.list:
        print(f"{len(found)} checks")
        return 0
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
