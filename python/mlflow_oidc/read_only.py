"""A connection of our own to an SQLite file of MLflow's, that only reads and never waits.

It is by Python's copy of the SQLite library, as MLflow's connections are: the second copy, in the wheel, must
not open these files (docs/architecture.md, "Where the rows are").
"""

import os
import sqlite3
import threading
from typing import Any
from urllib.parse import quote

# The connections of a fork's parent: closed or collected in the child, they would break the parent's file
# ("How To Corrupt An SQLite Database File", section 2.6).
_abandoned: list[sqlite3.Connection] = []
_all: list["ReadOnly"] = []


def plain_file(engine: Any) -> str | None:
    """The absolute path of the SQLite file of an SQLAlchemy engine; ``None`` where it is anything else."""
    name: str | None = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return None
    return os.path.abspath(name)


class ReadOnly:
    """One connection, opened when first asked, for all threads of this process in turn.

    ``lock`` is to be held while asking. It is held for microseconds, so that the event loop may wait for it.
    ``opened`` counts the connections: what one says of itself means nothing on the next.
    """

    def __init__(self, path: str) -> None:
        """Takes the absolute path of the file. Opens nothing yet."""
        self.lock = threading.Lock()
        self.opened = 0
        self._address = f"file:{quote(path)}?mode=ro"
        self._connection: sqlite3.Connection | None = None
        _all.append(self)

    def ask(self, query: str, *values: str) -> list[Any]:
        """All rows of a query. Raises ``sqlite3.Error``: at once where another connection holds a lock."""
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._address, uri=True, timeout=0, isolation_level=None, check_same_thread=False
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

    def abandon(self) -> None:
        """In the child of a fork: another thread of the parent may have held the lock for ever."""
        if self._connection is not None:
            _abandoned.append(self._connection)
        self._connection = None
        self.lock = threading.Lock()


def _after_fork() -> None:
    for reader in _all:
        reader.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
