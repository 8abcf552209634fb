"""The connection that only reads: it follows the name of the file, and never waits."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from mlflow_oidc import read_only
from mlflow_oidc.read_only import ReadOnly

QUERY = "SELECT word FROM words"


def make(path: Path, word: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE words (word TEXT)")
    connection.execute("INSERT INTO words VALUES (?)", (word,))
    connection.commit()
    connection.close()


def test_a_file_that_takes_the_place_of_another_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, backup = tmp_path / "basic_auth.db", tmp_path / "backup.db"
    make(path, "old")
    make(backup, "new")
    reader = ReadOnly(str(path))
    assert reader.ask(QUERY) == [("old",)]
    os.replace(backup, path)
    # It is looked after some seconds; until then the old file is what there is.
    assert reader.ask(QUERY) == [("old",)]
    monkeypatch.setattr(read_only, "_LOOK", 0.0)
    reader._look()
    assert reader.ask(QUERY) == [("new",)]
    assert reader.opened == 2


def test_a_locked_file_is_told_at_once_and_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "basic_auth.db"
    make(path, "word")
    reader = ReadOnly(str(path))
    assert reader.ask(QUERY) == [("word",)]
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        reader.ask(QUERY)
    writer.execute("COMMIT")
    assert reader.ask(QUERY) == [("word",)]
    assert reader.opened == 1
