"""What is remembered of MLflow's look-ups is what MLflow would answer now, at moments no request can hit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import venvs

PROGRAM = "look_ups.py"


@pytest.mark.parametrize(
    "check",
    [
        "until_a_commit",
        "a_commit_meanwhile",
        "a_lock",
        "exceptions",
        "callers_who_change_what_they_get",
        "bounds",
        "arguments_of_other_kinds",
        "a_fault_of_ours",
        "a_fork",
        "threads",
        "left_alone",
        "runs",
    ],
)
def test_an_answer_is_mlflows_own_of_this_moment(version: str, check: str, tmp_path: Path) -> None:
    venvs.output(version, PROGRAM, check, home=tmp_path)


def test_what_is_wrapped_only_reads_and_depends_on_its_arguments_alone(version: str, tmp_path: Path) -> None:
    methods = json.loads(venvs.output(version, PROGRAM, "the_table", home=tmp_path))
    assert "get_user" in methods
    for name, words in methods.items():
        assert "ManagedSessionMaker" in words, f"{name} asks no database"
        # What writes, what knows the request or the settings, and what has to do with a password.
        for bad in (
            *("session.add", "session.delete", "session.flush", "session.execute", "session.commit"),
            *("session.merge", "session.begin_nested", "....delete", "....update", "an attribute is set"),
            *("workspace_context", "MLFLOW_ENABLE_WORKSPACES", "auth_config", "request", "time"),
            *("check_password_hash", "generate_password_hash", "authenticate_user"),
        ):
            assert bad not in words, f"{name} has to do with {bad}"
