"""MLflow's ``users`` table, through the engine that MLflow itself opened.

The four columns are the same in every MLflow from 2.9 on. Going through MLflow's engine keeps its drivers,
its TLS and its pool, and for SQLite the one copy of the library that may open that file in this process.

MySQL, MariaDB and SQL Server compare names by a collation: ``WHERE username = 'alice'`` finds 'Alice' as
well. Here a user is whoever has exactly that name. The unique index goes by the collation too, so at most
one row is found.
"""

import sqlite3
import time
from typing import Any

import sqlalchemy
from sqlalchemy.exc import IntegrityError

from mlflow_oidc.asking import Database, Unanswered
from mlflow_oidc.read_only import ReadOnly, plain_file

_USERS = sqlalchemy.table(
    "users",
    sqlalchemy.column("id", sqlalchemy.Integer),
    sqlalchemy.column("username", sqlalchemy.String),
    sqlalchemy.column("password_hash", sqlalchemy.String),
    sqlalchemy.column("is_admin", sqlalchemy.Boolean),
)
_ROW = (_USERS.c.id, _USERS.c.password_hash, _USERS.c.is_admin, _USERS.c.username)
# Those that compare text as it is written.
_EXACT = ("sqlite", "postgresql")
# Seconds that a replica may take to show a new user, and seconds between two looks.
_REPLICA_PATIENCE = 10.0
_REPLICA_PAUSE = 0.05


class Users:
    """Reads and writes single rows. Errors are those of ``asking.Database``."""

    def __init__(
        self, engine: Any, database: Database | None = None, replica: Database | None = None
    ) -> None:
        """Takes MLflow's SQLAlchemy engine over, what asks it, and what asks its replica, if there is one."""
        self._database = database or Database(engine)
        self._replica = replica
        self._kind: str = engine.dialect.name
        path = plain_file(engine)
        # MLflow's own connections wait five seconds for a lock; this one never waits.
        self._impatient = None if path is None else ReadOnly(path)

    def find(self, username: str, waits: bool = True) -> tuple[int, str, bool] | None:
        """The number, the password hash and the admin flag of the user of exactly that name, or ``None``.

        Without ``waits``, on MLflow's event loop, ``TimeoutError`` says that there is no answer at once.
        """
        row = self._look(username, waits)
        return None if row is None or row[3] != username else (int(row[0]), str(row[1] or ""), bool(row[2]))

    def name_of(self, username: str, waits: bool = True) -> str:
        """The name of the user whom MLflow's own look-up finds; the same name where there is none."""
        if self._kind in _EXACT:
            return username
        row = self._look(username, waits)
        return username if row is None else str(row[3])

    def create(self, username: str, password_hash: str, is_admin: bool, number: int) -> str:
        """Adds a user. SQLite gets the ``id`` too.

        Returns: ``"made"``; ``"there"`` when the name is there already; ``"alike"`` when the database takes
        it for the name of another user.
        """
        values = {"username": username, "password_hash": password_hash, "is_admin": is_admin}
        if self._kind == "sqlite":
            # SQLite alone gives the number of a removed row away again.
            values["id"] = number

        def add(connection: Any) -> None:
            connection.execute(sqlalchemy.insert(_USERS).values(values))
            # MariaDB outside of its strict mode cuts a name at a letter that the column's character set has
            # not, and what is left may be another person's name. Raised here, it is not committed.
            if self._kind not in _EXACT and connection.execute(_named(username)).first()[3] != username:
                raise Unanswered("a user name that MLflow's column cannot hold as it is")

        try:
            self._database.run(add)
        except IntegrityError:
            return "alike" if self.name_of(username) != username else "there"
        return "made"

    def set_admin(self, username: str, is_admin: bool) -> None:
        """Writes the admin flag of a user."""
        change = sqlalchemy.update(_USERS).where(_USERS.c.username == username).values(is_admin=is_admin)

        if self.name_of(username) == username:
            self._database.run(lambda connection: connection.execute(change))

    def wait_until_seen(self, username: str) -> None:
        """Waits until a replica has a user, since MLflow looks there; ``TimeoutError`` when it takes too
        long.
        """
        if self._replica is None:
            return
        deadline = time.monotonic() + _REPLICA_PATIENCE
        while self._replica.run(lambda connection: connection.execute(_named(username)).first()) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError("the replica for reading does not have the new user yet")
            time.sleep(_REPLICA_PAUSE)

    def _look(self, username: str, waits: bool) -> Any:
        if not waits and self._impatient is not None:
            return _found_now(self._impatient, username)
        ask = self._database.run if waits else self._database.now
        return ask(lambda connection: connection.execute(_named(username)).first())


def _named(username: str) -> Any:
    return sqlalchemy.select(*_ROW).where(_USERS.c.username == username)


def _found_now(file: ReadOnly, username: str) -> Any:
    query = "SELECT id, password_hash, is_admin, username FROM users WHERE username = ?"
    try:
        with file.lock:
            return next(iter(file.ask(query, username)), None)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise TimeoutError("the database is locked") from None
