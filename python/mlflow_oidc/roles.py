"""MLflow's roles, their grants and who has them, through the engine that MLflow itself opened.

The three tables are the same from MLflow 3.12.0 to 3.18.0. They are written to directly because MLflow's
store commits call by call: here all changes are made in one transaction or none is. Only roles whose names
begin with the prefix that the caller names are seen or touched.
"""

import sqlite3
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

import sqlalchemy
from sqlalchemy.exc import IntegrityError

from mlflow_oidc.asking import Database
from mlflow_oidc.read_only import ReadOnly, plain_file

# The first version that has the tables.
SINCE = (3, 12, 0)

# What is to be done: create, describe, grant, revoke, delete, assign or unassign; then the workspace and the
# name of the role; then the description, or kind, pattern and permission; and the number of a user.
Change: TypeAlias = tuple[str, str, str, str, str, str, int]
# Workspace, name, description, and (kind, pattern, permission) of each grant.
Kept: TypeAlias = tuple[str, str, str, list[tuple[str, str, str]]]

_METADATA = sqlalchemy.MetaData()
_USERS = sqlalchemy.Table(
    "users",
    _METADATA,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("username", sqlalchemy.String(255)),
)
_ROLES = sqlalchemy.Table(
    "roles",
    _METADATA,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.String(255)),
    sqlalchemy.Column("workspace", sqlalchemy.String(63)),
    sqlalchemy.Column("description", sqlalchemy.String(1024)),
)
_GRANTS = sqlalchemy.Table(
    "role_permissions",
    _METADATA,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("role_id", sqlalchemy.Integer),
    sqlalchemy.Column("resource_type", sqlalchemy.String(64)),
    sqlalchemy.Column("resource_pattern", sqlalchemy.String(255)),
    sqlalchemy.Column("permission", sqlalchemy.String(255)),
)
_ASSIGNED = sqlalchemy.Table(
    "user_role_assignments",
    _METADATA,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("user_id", sqlalchemy.Integer),
    sqlalchemy.Column("role_id", sqlalchemy.Integer),
)

# Up to so many roles are asked for by name, more are found among all.
_FEW = 100
# How often a transaction is tried that another one was in the way of: two workers that make the same role.
_RACES = 10


def missing(engine: Any, version: str) -> str | None:
    """Why there are no roles to write to, in words; ``None`` where there are.

    Takes MLflow's SQLAlchemy engine and its version. A column that is not known, or is not there, means that
    the tables mean something else by now, and writing to them could give somebody rights.
    """
    numbers = version.split(".")
    if all(number.isdigit() for number in numbers[:2]) and tuple(map(int, numbers[:2])) < SINCE[:2]:
        return (
            f"MLflow {version} has no roles, 3.12.0 is the first that has them. Groups decide who gets in "
            "and who is an administrator; others have default_permission and what an administrator gives"
        )
    inspector = sqlalchemy.inspect(engine)
    for table in (_ROLES, _GRANTS, _ASSIGNED):
        if not inspector.has_table(table.name):
            return f"MLflow {version} has no table {table.name!r}"
        found = {column["name"] for column in inspector.get_columns(table.name)}
        if found != set(table.columns.keys()):
            return (
                f"the table {table.name!r} of MLflow {version} has the columns {', '.join(sorted(found))}, "
                f"and this mlflow-oidc knows {', '.join(sorted(table.columns.keys()))}"
            )
    return None


class Roles:
    """Reads and writes. Raises ``TimeoutError`` and ``Unanswered`` as ``Database`` does."""

    def __init__(self, database: Database) -> None:
        """Takes the way to MLflow's database."""
        self._database = database
        path = plain_file(database.engine)
        # It never waits, and costs a tenth of a session of SQLAlchemy's.
        self._impatient = None if path is None else ReadOnly(path)

    def kept(self, prefix: str) -> list[Kept]:
        """The roles whose names begin with ``prefix``, and what they grant."""
        columns = (
            _ROLES.c.workspace,
            _ROLES.c.name,
            _ROLES.c.description,
            _GRANTS.c.resource_type,
            _GRANTS.c.resource_pattern,
            _GRANTS.c.permission,
        )
        query = (
            sqlalchemy.select(*columns)
            .select_from(_ROLES.outerjoin(_GRANTS, _GRANTS.c.role_id == _ROLES.c.id))
            .where(_begins(_ROLES.c.name, prefix))
        )
        kept: dict[tuple[str, str], Kept] = {}
        for workspace, name, description, *grant in self._database.run(lambda c: c.execute(query).all()):
            if name.startswith(prefix):
                role = kept.setdefault((workspace, name), (workspace, name, description or "", []))
                if grant[0] is not None:
                    role[3].append((grant[0], grant[1], grant[2]))
        return list(kept.values())

    def of_user(self, prefix: str, user_id: int, waits: bool = True) -> list[tuple[str, str]]:
        """The roles (workspace, name) of a user whose names begin with ``prefix``.

        Without ``waits``, on MLflow's event loop, a lock is answered by ``TimeoutError`` at once.
        """
        if self._impatient is not None:
            try:
                return _found(_roles_now(self._impatient, user_id), prefix)
            except TimeoutError:
                if not waits:
                    raise
        query = (
            sqlalchemy.select(_ROLES.c.workspace, _ROLES.c.name)
            .join(_ASSIGNED, _ASSIGNED.c.role_id == _ROLES.c.id)
            .where(_ASSIGNED.c.user_id == user_id)
        )
        ask = self._database.run if waits or self._impatient is not None else self._database.now
        return _found(ask(lambda connection: connection.execute(query).all()), prefix)

    def assigned(self, prefix: str) -> list[tuple[int, str, str]]:
        """Who has a role whose name begins with ``prefix``: number of the user, workspace, name."""
        query = (
            sqlalchemy.select(_ASSIGNED.c.user_id, _ROLES.c.workspace, _ROLES.c.name)
            .join(_ROLES, _ASSIGNED.c.role_id == _ROLES.c.id)
            .where(_begins(_ROLES.c.name, prefix))
        )
        rows = self._database.run(lambda c: c.execute(query).all())
        return [(int(user), workspace, name) for user, workspace, name in rows if name.startswith(prefix)]

    def users(self) -> dict[int, str]:
        """The names of all users by their numbers."""
        query = sqlalchemy.select(_USERS.c.id, _USERS.c.username)
        return {
            int(number): str(name) for number, name in self._database.run(lambda c: c.execute(query).all())
        }

    def change(self, changes: Iterable[Change]) -> bool:
        """Makes all changes in one transaction, or none.

        Returns ``False`` when a role is not there that somebody should have; all else is done then. Each
        change says what is to be, so that whoever comes second finds nothing to do.
        """
        changes = list(changes)
        for _ in range(_RACES):
            try:
                return bool(self._database.run(lambda connection: _carry_out(connection, changes)))
            except IntegrityError:
                # Another worker was faster with the same role, or a user was removed: the next look sees it.
                time.sleep(0.01)
        raise TimeoutError("somebody else changes the same roles all the time")


def _begins(column: Any, prefix: str) -> Any:
    # Some databases do not tell capitals apart here; the caller does.
    return column.startswith(prefix, autoescape=True)


def _found(rows: Iterable[Any], prefix: str) -> list[tuple[str, str]]:
    return [(workspace, name) for workspace, name in rows if name.startswith(prefix)]


def _roles_now(file: ReadOnly, user_id: int) -> Any:
    query = (
        "SELECT roles.workspace, roles.name FROM user_role_assignments JOIN roles "
        "ON roles.id = user_role_assignments.role_id WHERE user_role_assignments.user_id = ?"
    )
    try:
        with file.lock:
            return file.ask(query, str(user_id))
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise TimeoutError("the database is locked") from None


def _carry_out(connection: Any, changes: list[Change]) -> bool:
    numbers = _numbers(connection, {(workspace, name) for _, workspace, name, *_ in changes})
    made: set[int] = set()
    complete = True
    for what, workspace, name, first, second, third, user in changes:
        number = numbers.get((workspace, name))
        if what == "create" and number is None:
            values = {"workspace": workspace, "name": name, "description": first}
            inserted = connection.execute(sqlalchemy.insert(_ROLES).values(values))
            number = int(inserted.inserted_primary_key[0])
            numbers[workspace, name] = number
            made.add(number)
        elif number is None:
            # Gone meanwhile, and with it all that was to be taken from it.
            complete = complete and what in ("revoke", "delete", "unassign")
        elif what in ("create", "describe"):
            _describe(connection, number, first)
        elif what == "grant":
            _grant(connection, number, first, second, third, is_new=number in made)
        elif what == "revoke":
            connection.execute(sqlalchemy.delete(_GRANTS).where(*_on(number, first, second)))
        elif what == "delete":
            for table in (_GRANTS, _ASSIGNED):
                connection.execute(sqlalchemy.delete(table).where(table.c.role_id == number))
            connection.execute(sqlalchemy.delete(_ROLES).where(_ROLES.c.id == number))
            del numbers[workspace, name]
        elif what == "assign":
            _assign(connection, number, user)
        elif what == "unassign":
            mine = (_ASSIGNED.c.role_id == number, _ASSIGNED.c.user_id == user)
            connection.execute(sqlalchemy.delete(_ASSIGNED).where(*mine))
        else:
            raise ValueError(what)
    return complete


def _numbers(connection: Any, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    query = sqlalchemy.select(_ROLES.c.id, _ROLES.c.workspace, _ROLES.c.name)
    if len(wanted) <= _FEW:
        names = {name for _, name in wanted}
        query = query.where(_ROLES.c.name.in_(names))
    # Compared here: some databases do not tell capitals apart.
    return {
        (workspace, name): int(number)
        for number, workspace, name in connection.execute(query).all()
        if (workspace, name) in wanted
    }


def _describe(connection: Any, number: int, description: str) -> None:
    statement = sqlalchemy.update(_ROLES).where(_ROLES.c.id == number).values(description=description)
    connection.execute(statement)


def _on(number: int, kind: str, pattern: str) -> tuple[Any, ...]:
    columns = _GRANTS.c
    return columns.role_id == number, columns.resource_type == kind, columns.resource_pattern == pattern


def _grant(connection: Any, number: int, kind: str, pattern: str, permission: str, *, is_new: bool) -> None:
    there = _on(number, kind, pattern)
    if not is_new:
        statement = sqlalchemy.update(_GRANTS).where(*there).values(permission=permission)
        connection.execute(statement)
    # Not by the count of updated rows: MySQL does not count those that are as they should be.
    if is_new or connection.execute(sqlalchemy.select(_GRANTS.c.id).where(*there)).first() is None:
        values = {
            "role_id": number,
            "resource_type": kind,
            "resource_pattern": pattern,
            "permission": permission,
        }
        connection.execute(sqlalchemy.insert(_GRANTS).values(values))


def _assign(connection: Any, number: int, user: int) -> None:
    mine = (_ASSIGNED.c.role_id == number, _ASSIGNED.c.user_id == user)
    if connection.execute(sqlalchemy.select(_ASSIGNED.c.id).where(*mine)).first() is not None:
        return
    # Of a user who is there: one who was removed must leave nothing that the next of that number gets.
    source = sqlalchemy.select(_USERS.c.id, sqlalchemy.literal(number)).where(_USERS.c.id == user)
    connection.execute(sqlalchemy.insert(_ASSIGNED).from_select(["user_id", "role_id"], source))
