"""Holds each Cargo.lock to the deny.toml beside it, and the manifests to the rules of the house; no network.

`cargo tree` says which crates are compiled, because `cargo metadata` also names those of features that are
off, ring among them. What they are is what `cargo metadata` says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
# How every Cargo.lock names crates.io, whatever mirror a machine fetches from.
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"
KINDS = ("dependencies", "dev-dependencies", "build-dependencies")

Crate = tuple[str, str]  # name and version


@dataclass(frozen=True)
class Fault:
    """One thing that must not be so, for the person at the terminal."""

    subject: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        told = (f"found:    {self.found}", f"expected: {self.expected}", f"to do:    {self.remedy}")
        return "\n      ".join((f"  * {self.subject}", *told))


@dataclass(frozen=True)
class Tree:
    """One Cargo.lock, what cargo says about it, and the deny.toml beside it."""

    policy: dict[str, Any]
    lock: list[dict[str, Any]]
    packages: dict[Crate, dict[str, Any]]
    ours: frozenset[str]
    compiled: frozenset[Crate]
    for_tests: frozenset[Crate]

    def judged(self, crates: Iterable[Crate]) -> list[tuple[Crate, str]]:
        """Those whose licence counts, with its expression: our own that nobody gets may be without one."""
        ignored = self.ours if self.policy["licenses"].get("private", {}).get("ignore") else ()
        return [(one, self.packages[one]["license"] or "") for one in sorted(crates) if one[0] not in ignored]


def choices(expression: str) -> list[frozenset[str]]:
    """What an SPDX expression lets us choose from: each choice is all the licences that come with it.

    `/` is how old manifests write OR. `WITH` belongs to its licence: an exception makes it another one.
    """
    words = [*re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", expression.replace("/", " OR ")), ""]

    def either() -> list[frozenset[str]]:
        found = both()
        while words[0] == "OR":
            del words[0]
            found = found + both()
        return found

    def both() -> list[frozenset[str]]:
        found = one()
        while words[0] == "AND":
            del words[0]
            found = [left | right for left, right in product(found, one())]
        return found

    def one() -> list[frozenset[str]]:
        word = words.pop(0)
        if word == "(":
            found = either()
            if words.pop(0) == ")":
                return found
        elif word not in ("", ")", "AND", "OR", "WITH"):
            return [frozenset((word,))]
        raise ValueError(expression)

    found = either()
    if words != [""]:
        raise ValueError(expression)
    return found


def acceptable(expression: str, allowed: list[str]) -> list[frozenset[str]]:
    """The choices of allowed licences alone, the best first; none where the expression cannot be read."""
    try:
        good = [choice for choice in choices(expression) if choice <= set(allowed)]
    except ValueError:
        return []
    return sorted(good, key=lambda choice: sorted(map(allowed.index, choice)))


def licences(tree: Tree) -> Iterator[Fault]:
    """Each crate can be had under allowed licences, and each allowed licence is needed by one."""
    allowed = tree.policy["licenses"]["allow"]
    needed: set[str] = set()
    for (name, version), expression in tree.judged(tree.compiled | tree.for_tests):
        good = acceptable(expression, allowed)
        needed |= frozenset.intersection(*good) if good else frozenset()
        if not good:
            expected = f"what {', '.join(allowed)} fulfil"
            remedy = f"do without it (`cargo tree -i {name}@{version}`), or read the licence and allow it"
            yield Fault(f"{name} {version}: licence", expression or "none", expected, remedy)
    if tree.policy["licenses"].get("unused-allowed-license") == "deny":
        for licence in allowed:
            if licence not in needed:
                yield Fault(licence, "no crate needs it", "one that does", "remove it from licenses.allow")


def matches(entry: dict[str, str], crate: Crate) -> bool:
    """deny.toml's `name`, `name@1.2.3` and `name:^1.2`: the numbers that are given have to be equal."""
    spec = re.fullmatch(r"([\w-]+)(?:@|:\^|$)([\d.]*)", entry["crate"])
    if not spec:
        raise SystemExit(f"*** deny.toml: {entry['crate']!r} is neither name, name@1.2.3 nor name:^1.2")
    numbers = spec[2].split(".") if spec[2] else []
    return crate[0] == spec[1] and crate[1].split(".")[: len(numbers)] == numbers


def duplicates(tree: Tree) -> Iterator[Fault]:
    """One version of each crate, but for those that deny.toml skips; and it skips none without need."""
    if tree.policy["bans"]["multiple-versions"] != "deny":
        return
    skips = tree.policy["bans"].get("skip", [])
    count = Counter(name for name, _ in tree.compiled)
    twice = sorted(crate for crate in tree.compiled if count[crate[0]] > 1)
    left = [crate for crate in twice if not any(matches(skip, crate) for skip in skips)]
    for name, number in Counter(name for name, _ in left).items():
        if number > 1:
            versions = " and ".join(version for other, version in twice if other == name)
            remedy = "`cargo tree -d` says who brings them: update, or skip the older one with the reason"
            yield Fault(f"{name}: versions", versions, "one", remedy)
    for skip in skips:
        if not any(matches(skip, crate) for crate in twice):
            subject = f"bans.skip {skip['crate']}"
            yield Fault(subject, "nothing to skip", "one of several versions", "remove it from deny.toml")


def banned(tree: Tree) -> Iterator[Fault]:
    """What deny.toml keeps out is not compiled."""
    for ban in tree.policy["bans"].get("deny", []):
        for name, version in sorted(crate for crate in tree.compiled if matches(ban, crate)):
            remedy = f"`cargo tree -e features -i {name}` says what switches it on; switch that off"
            expected = f"not to be compiled: {ban.get('reason')}"
            yield Fault(f"{name} {version}: banned", "it is compiled", expected, remedy)


def reasons(tree: Tree) -> Iterator[Fault]:
    """An exception that nobody can explain is never removed."""
    for table in ("skip", "deny"):
        for entry in tree.policy["bans"].get(table, []):
            if not entry.get("reason"):
                yield Fault(f"bans.{table} {entry['crate']}", "no reason", "one", "say why, in deny.toml")


def sources(tree: Tree) -> Iterator[Fault]:
    """All of Cargo.lock, for every system: from crates.io and with its checksum, or our own."""
    for package in tree.lock:
        subject, source = f"{package['name']} {package['version']}: source", package.get("source")
        if source is None and package["name"] in tree.ours:
            continue
        if source != CRATES_IO:
            # The address is not shown: it may name a private host, and hold a password for it.
            found = "a path" if source is None else f"another {source.partition('+')[0]}"
            yield Fault(subject, found, "crates.io", "take a published version, which advisories can name")
        elif not re.fullmatch("[0-9a-f]{64}", package.get("checksum", "")):
            yield Fault(subject, "no checksum", "a SHA-256", "let cargo write the entry anew")


def our_own(tree: Tree) -> Iterator[Fault]:
    """Our crates cannot be published by mistake, and none takes whatever version the next update brings."""
    paths = tree.policy["bans"].get("allow-wildcard-paths")
    for (name, _), package in tree.packages.items():
        if name in tree.ours and package["publish"] != []:
            yield Fault(name, "it can be published", "publish = false", "say so in its Cargo.toml")
        for needed in package["dependencies"] if name in tree.ours else ():
            if needed["req"] == "*" and not (paths and "path" in needed):
                subject = f"{needed['name']} in {name}"
                yield Fault(subject, "any version", "a version", "name one in its Cargo.toml")


RULES = (licences, duplicates, banned, reasons, sources, our_own)


def justifications(manifest: str) -> Iterator[Fault]:
    """Each dependency of Cargo.toml has a comment on its line that says what it is for."""
    parsed = tomllib.loads(manifest)
    tables = (parsed, *parsed.get("target", {}).values())
    missing = Counter(name for table in tables for kind in KINDS for name in table.get(kind, {}))
    kind = ""
    for line in manifest.splitlines():
        # A `#` within a string is no comment.
        bare, _, comment = re.sub(r"\"[^\"]*\"|'[^']*'", "''", line).partition("#")
        if bare.startswith("["):
            kind = bare.strip(" []").rpartition(".")[2]
        entry = re.match(r"([\w-]+)\s*=", bare)
        if entry and kind in KINDS and re.search(r"\w", comment):
            missing[entry[1]] -= 1
    for name in sorted(+missing):
        yield Fault(f"{name} in Cargo.toml", "no comment", "what it is for", "say it on its line, behind a #")


def python_side(project: dict[str, Any]) -> Iterator[Fault]:
    """The wheel asks pip for nothing, so that it never moves a version of the MLflow beside it."""
    if project.get("dependencies") != []:
        found = str(project.get("dependencies", "no such line"))
        yield Fault("dependencies in pyproject.toml", found, "[]", "use what MLflow has, or make it an extra")


def cargo(folder: Path, *words: str) -> str:
    """What cargo says without a network; its own words where it cannot, but for a mirror's address."""
    command = ["cargo", *words, "--locked", "--offline", "--manifest-path", str(folder / "Cargo.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = re.sub(r"\S+://\S+", "(an address)", done.stderr.strip())
        sys.exit(f"{said}\n*** cargo cannot list the crates; if some are missing: cargo fetch --locked")
    return done.stdout


def read(folder: Path) -> Tree:
    """All that the rules look at, for the systems and features that deny.toml names."""
    policy = tomllib.loads((folder / "deny.toml").read_text())
    features = [f"--features={name}" for name in policy["graph"].get("features", [])]

    def listed(kinds: str) -> frozenset[Crate]:
        targets = [f"--target={target}" for target in policy["graph"]["targets"]]
        said = cargo(folder, "tree", "--prefix=none", "--format={p}", f"--edges={kinds}", *targets, *features)
        return frozenset((words[0], words[1][1:]) for words in map(str.split, said.splitlines()) if words)

    platforms = [f"--filter-platform={target}" for target in policy["graph"]["targets"]]
    packages = json.loads(cargo(folder, "metadata", "--format-version=1", *platforms, *features))["packages"]
    manifests = {str(place / "Cargo.toml") for place in (ROOT, folder)}
    return Tree(
        policy=policy,
        lock=tomllib.loads((folder / "Cargo.lock").read_text())["package"],
        packages={(package["name"], package["version"]): package for package in packages},
        ours=frozenset(package["name"] for package in packages if package["manifest_path"] in manifests),
        compiled=(compiled := listed("normal,build")),
        for_tests=listed("normal,build,dev") - compiled,
    )


def locks() -> list[Path]:
    """Those of the fuzzers and of the bench, each in a workspace of its own."""
    return sorted({*ROOT.glob("*/Cargo.lock"), *ROOT.glob("*/*/Cargo.lock")})


def report(tree: Tree, title: str) -> None:
    """How many crates there are, and which licence each is taken under: all of those that AND joins."""
    allowed = tree.policy["licenses"]["allow"]
    columns = [
        Counter(one for _, words in tree.judged(crates) for one in acceptable(words, allowed)[0])
        for crates in (tree.compiled, tree.for_tests)
    ]
    rows = [("crates", len(tree.compiled), len(tree.for_tests))]
    rows += [(f"  {licence}", columns[0][licence], columns[1][licence]) for licence in allowed]
    print(f"{title + f' ({len(tree.lock)} locked)':<34}{'compiled':>10}{'for tests':>11}")
    print(*(f"{name:<34}{compiled:>10}{for_tests:>11}" for name, compiled, for_tests in rows), sep="\n")


def main() -> int:
    """1 when there is a fault; all of them are shown at once."""
    faults = [
        *justifications((ROOT / "Cargo.toml").read_text()),
        *python_side(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]),
    ]
    for folder in (ROOT, *(lock.parent for lock in locks())):
        tree = read(folder)
        found = [fault for rule in RULES for fault in rule(tree)]
        if not found:
            report(tree, "the wheel" if folder == ROOT else folder.name)
        faults += found
    if faults:
        print(f"*** faults in the dependencies: {len(faults)}", *faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
