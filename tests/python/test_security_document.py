"""SECURITY.md names a test for each promise: each of them is there."""

from __future__ import annotations

import re

from support.venvs import REPOSITORY

NAMED = re.compile(r"`((?:tests|tools)/[\w/.]+\.(?:rs|py))::(\w+)`")


def test_every_promise_names_a_test_that_is_there() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text()
    promises = [line for line in text.splitlines() if line.startswith("| ") and "held by" not in line]
    promises = [line for line in promises if line.count("|") == 3]
    assert len(promises) > 20
    faults = [f"no test: {line}" for line in promises if not NAMED.search(line) and "table |" not in line]
    for path, name in NAMED.findall(text):
        file = REPOSITORY / path
        if not file.exists() or not re.search(rf"(?:fn|def) {name}\b", file.read_text()):
            faults.append(f"{path} has no {name}")
    assert not faults, "\n".join(faults)


def test_every_make_target_that_is_named_is_there() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", (REPOSITORY / "SECURITY.md").read_text()):
        assert f"\n{target}:" in makefile, target
