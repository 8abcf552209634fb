"""MLflow's ``users`` table, through the engine that MLflow itself opened.

The four columns are the same in every MLflow from 2.9 on. Going through MLflow's engine keeps its drivers,
its TLS and its pool, and for SQLite the one copy of the library that may open that file in this process.
"""

import sqlite3
import time
from typing import Any

import sqlalchemy
from sqlalchemy.exc import IntegrityError, OperationalError

from mlflow_oidc.read_only import ReadOnly, plain_file

_USERS = sqlalchemy.table(
    "users",
    sqlalchemy.column("id", sqlalchemy.Integer),
    sqlalchemy.column("username", sqlalchemy.String),
    sqlalchemy.column("password_hash", sqlalchemy.String),
    sqlalchemy.column("is_admin", sqlalchemy.Boolean),
)
# Seconds that a locked SQLite file is waited for in all; the driver itself waits 5 at a time.
_PATIENCE = 15.0


class Users:
    """Reads and writes single rows. Raises ``TimeoutError`` for a lock that was waited for in vain."""

    def __init__(self, engine: Any) -> None:
        """Takes MLflow's SQLAlchemy engine over."""
        self._engine = engine
        path = plain_file(engine)
        # MLflow's own connections wait five seconds for a lock; this one never waits.
        self._impatient = None if path is None else ReadOnly(path)

    def find(self, username: str, waits: bool = True) -> tuple[int, str, bool] | None:
        """The number, the password hash and the admin flag of a user, or ``None``.

        Without ``waits``, on MLflow's event loop, a lock is answered by ``TimeoutError`` at once.
        """
        if not waits and self._impatient is not None:
            return _user(_found_now(self._impatient, username))
        query = sqlalchemy.select(_USERS.c.id, _USERS.c.password_hash, _USERS.c.is_admin).where(
            _USERS.c.username == username
        )
        return _user(self._run(lambda connection: connection.execute(query).first()))

    def create(self, username: str, password_hash: str, is_admin: bool, number: int) -> bool:
        """Adds a user; ``False`` when the name is there already. SQLite gets the ``id`` too."""
        values = {"username": username, "password_hash": password_hash, "is_admin": is_admin}
        if self._engine.dialect.name == "sqlite":
            # SQLite alone gives the number of a removed row away again.
            values["id"] = number
        statement = sqlalchemy.insert(_USERS).values(values)
        try:
            self._run(lambda connection: connection.execute(statement))
        except IntegrityError:
            return False
        return True

    def set_admin(self, username: str, is_admin: bool) -> None:
        """Writes the admin flag of a user."""
        statement = sqlalchemy.update(_USERS).where(_USERS.c.username == username).values(is_admin=is_admin)
        self._run(lambda connection: connection.execute(statement))

    def _run(self, work: Any) -> Any:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except OperationalError as error:
                # SQLite only; other databases wait by themselves and fail with other words.
                if "database is locked" not in str(error.orig):
                    raise
                if time.monotonic() >= deadline:
                    raise TimeoutError("the database is locked") from None
                time.sleep(0.05)


def _found_now(file: ReadOnly, username: str) -> Any:
    query = "SELECT id, password_hash, is_admin FROM users WHERE username = ?"
    try:
        with file.lock:
            return next(iter(file.ask(query, username)), None)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise TimeoutError("the database is locked") from None


def _user(row: Any) -> tuple[int, str, bool] | None:
    return None if row is None else (int(row[0]), str(row[1] or ""), bool(row[2]))
