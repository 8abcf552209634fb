"""The check of dependencies can fail: a sound tree is changed in one place, and exactly that is found."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from support.venvs import REPOSITORY

FILE = REPOSITORY / "tools" / "check_dependencies.py"
SPEC = importlib.util.spec_from_file_location(FILE.stem, FILE)
assert SPEC is not None
check: Any = importlib.util.module_from_spec(SPEC)
# A dataclass looks its module up by name.
sys.modules[FILE.stem] = check
SPEC.loader.exec_module(check)

OURS, OLD, NEW, PLAIN = ("mlflow-oidc", "0.1.0"), ("twice", "0.1.3"), ("twice", "0.2.0"), ("plain", "1.0.0")
TEST = ("only-tests", "3.0.0")


def sound() -> Any:
    """A tree without a fault: one crate in two versions, the older skipped, and one that only tests have."""
    names = (PLAIN, NEW, OLD, TEST)
    packages = {name: {"license": "MIT", "publish": None, "dependencies": []} for name in names}
    needed = [{"name": "plain", "req": "^1"}]
    packages[OURS] = {"license": "Apache-2.0", "publish": [], "dependencies": needed}
    lock = [
        {"name": name, "version": version, "source": check.CRATES_IO, "checksum": "a" * 64}
        for name, version in names
    ]
    bans = {
        "multiple-versions": "deny",
        "skip": [{"crate": "twice:^0.1", "reason": "another crate has it"}],
        "deny": [{"crate": "openssl-sys", "reason": "the system's"}],
    }
    return check.Tree(
        policy={
            "bans": bans,
            "licenses": {"allow": ["Apache-2.0", "MIT"], "unused-allowed-license": "deny"},
        },
        lock=[*lock, {"name": OURS[0], "version": OURS[1]}],
        packages=packages,
        ours=frozenset((OURS[0],)),
        compiled=frozenset((OURS, OLD, NEW, PLAIN)),
        for_tests=frozenset((TEST,)),
    )


def compiling(tree: Any, *crates: tuple[str, str]) -> Any:
    """The same tree, with these crates beside our own."""
    tree.packages.update((crate, tree.packages[PLAIN]) for crate in crates if crate not in tree.packages)
    return dataclasses.replace(tree, compiled=frozenset((OURS, *crates)))


# What is changed, and the fault that it is: whose it is and what was found.
CHANGES: list[tuple[Callable[[Any], Any], str, str]] = [
    (lambda t: t.packages[PLAIN].update(license="GPL-3.0-only"), "plain 1.0.0: licence", "GPL-3.0-only"),
    (lambda t: t.packages[TEST].update(license="MIT AND X"), "only-tests 3.0.0: licence", "MIT AND X"),
    (lambda t: t.packages[PLAIN].update(license=None), "plain 1.0.0: licence", "none"),
    (lambda t: t.policy["licenses"]["allow"].append("ISC"), "ISC", "no crate needs it"),
    (lambda t: compiling(t, OLD, NEW, PLAIN, ("plain", "2.0.0")), "plain: versions", "1.0.0 and 2.0.0"),
    (lambda t: compiling(t, OLD, NEW, ("twice", "0.3.0")), "twice: versions", "0.1.3 and 0.2.0 and 0.3.0"),
    (lambda t: compiling(t, NEW, PLAIN), "bans.skip twice:^0.1", "nothing to skip"),
    (lambda t: t.policy["bans"]["skip"][0].pop("reason"), "bans.skip twice:^0.1", "no reason"),
    (
        lambda t: compiling(t, OLD, NEW, ("openssl-sys", "0.9.1")),
        "openssl-sys 0.9.1: banned",
        "it is compiled",
    ),
    (lambda t: t.lock[0].update(source="git+https://private.example"), "plain 1.0.0: source", "another git"),
    (lambda t: t.lock[0].update(source="registry+file://x"), "plain 1.0.0: source", "another registry"),
    (lambda t: t.lock[0].pop("source"), "plain 1.0.0: source", "a path"),
    (lambda t: t.lock[0].pop("checksum"), "plain 1.0.0: source", "no checksum"),
    (lambda t: t.packages[OURS].update(publish=None), "mlflow-oidc", "it can be published"),
    (lambda t: t.packages[OURS]["dependencies"][0].update(req="*"), "plain in mlflow-oidc", "any version"),
]


def faults_of(tree: Any) -> list[Any]:
    return [fault for rule in check.RULES for fault in rule(tree)]


def test_a_sound_tree_has_no_fault() -> None:
    assert faults_of(sound()) == []


@pytest.mark.parametrize(("change", "subject", "found"), CHANGES, ids=[" ".join(row[1:]) for row in CHANGES])
def test_one_change_is_one_fault(change: Callable[[Any], Any], subject: str, found: str) -> None:
    tree = sound()
    changed = change(tree)
    faults = faults_of(changed if isinstance(changed, check.Tree) else tree)
    assert (subject, found) in [(fault.subject, fault.found) for fault in faults]
    assert len(faults) == 1
    assert "private.example" not in str(faults[0])


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("MIT/GPL-3.0", True),
        ("GPL-3.0 OR MIT AND GPL-2.0", False),
        ("(GPL-3.0 OR MIT) AND Apache-2.0", True),
        ("MIT WITH Some-exception", False),
        ("GPL-3.0 OR Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("MIT OR", False),
        ("(MIT", False),
        ("MIT Apache-2.0", False),
    ],
)
def test_an_expression_is_read_as_spdx_says(expression: str, good: bool) -> None:
    allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
    assert bool(check.acceptable(expression, allowed)) is good


@pytest.mark.parametrize(
    ("manifest", "missing"),
    [
        ('[dependencies]\nplain = "1" # what for\n', []),
        ('[dependencies]\nplain = "1#what"\n', ["plain"]),
        ('[dev-dependencies]\nplain = "1" #\n', ["plain"]),
        ("[target.'cfg(unix)'.dependencies]\nplain = '1'\n", ["plain"]),
        ('[dependencies]\nplain = "1" # what for\n[build-dependencies]\nplain = "1"\n', ["plain"]),
    ],
)
def test_a_dependency_has_its_reason_beside_it(manifest: str, missing: list[str]) -> None:
    assert [fault.subject for fault in check.justifications(manifest)] == [
        f"{name} in Cargo.toml" for name in missing
    ]


@pytest.mark.parametrize("project", [{"dependencies": ["flask"]}, {"dynamic": ["dependencies"]}])
def test_the_wheel_asks_pip_for_nothing(project: dict[str, Any]) -> None:
    assert not list(check.python_side({"dependencies": []}))
    assert list(check.python_side(project))


def test_a_mirror_is_not_named_when_cargo_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 101, "", "no plain in sparse+https://private.example/index/")
    monkeypatch.setattr(check.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match="no plain in") as stopped:
        check.cargo(REPOSITORY, "tree")
    assert "private.example" not in str(stopped.value)
