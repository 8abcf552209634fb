"""A connection of our own to an SQLite file of MLflow's, that only reads and never waits.

It is by Python's copy of the SQLite library, as MLflow's connections are: the second copy, in the wheel, must
not open these files (docs/architecture.md, "Where the rows are").
"""

import os
import sqlite3
import threading
import time
from typing import Any
from urllib.parse import quote

# The connections of a fork's parent: closed or collected in the child, they would break the parent's file
# ("How To Corrupt An SQLite Database File", section 2.6).
_abandoned: list[sqlite3.Connection] = []
_all: list["ReadOnly"] = []
# Seconds after which it is looked whether another file has the name by now: a backup that was moved there.
_LOOK = 5.0


def plain_file(engine: Any) -> str | None:
    """The absolute path of the SQLite file of an SQLAlchemy engine; ``None`` where it is anything else."""
    name: str | None = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return None
    return os.path.abspath(name)


def is_of_a_server(kind: str) -> bool:
    """Whether a database of this kind is one that every worker reaches through SQLAlchemy."""
    return kind.isidentifier() and kind not in ("sqlite", "none")


def is_usable(path: str | None, kind: str) -> bool:
    """Whether there is a place for our rows: beside a plain SQLite file, or in the database of a server."""
    return path is not None or is_of_a_server(kind)


class ReadOnly:
    """One connection, opened when first asked, for all threads of this process in turn.

    ``lock`` is to be held while asking. Whoever has it waits for nothing but the interpreter's lock (0.2 ms,
    the median with four busy threads), so that the event loop may wait for it.
    ``opened`` counts the connections: what one says of itself means nothing on the next.
    """

    def __init__(self, path: str) -> None:
        """Takes the absolute path of the file. Opens nothing yet."""
        self.lock = threading.Lock()
        self.opened = 0
        self._path = path
        self._file: tuple[int, int] | None = None
        self._look_at = 0.0
        self._connection: sqlite3.Connection | None = None
        _all.append(self)

    def ask(self, query: str, *values: str) -> list[Any]:
        """All rows of a query. Raises ``sqlite3.Error``: at once where another connection holds a lock."""
        if self._connection is not None and time.monotonic() >= self._look_at:
            self._look()
        if self._connection is None:
            self._file = _identity(self._path)
            self._look_at = time.monotonic() + _LOOK
            address = f"file:{quote(self._path)}?mode=ro"
            self._connection = sqlite3.connect(
                address, uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
            self.opened += 1
        try:
            # All rows, so that the statement is at its end and keeps no lock on the file.
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if "locked" not in str(error):
                self._connection.close()
                self._connection = None
            raise

    def _look(self) -> None:
        # The connection stays with the file that it opened; once that has no name, its version never changes.
        self._look_at = time.monotonic() + _LOOK
        if self._connection is not None and _identity(self._path) != self._file:
            self._connection.close()
            self._connection = None

    def abandon(self) -> None:
        """In the child of a fork: another thread of the parent may have held the lock for ever."""
        if self._connection is not None:
            _abandoned.append(self._connection)
        self._connection = None
        self.lock = threading.Lock()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _after_fork() -> None:
    for reader in _all:
        reader.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
