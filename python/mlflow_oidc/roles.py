"""MLflow's roles, their grants and who has them, through the engine that MLflow itself opened.

The three tables are the same from MLflow 3.12.0 to 3.18.0. They are written to directly because MLflow's
store commits call by call: here all changes are made in one transaction or none is. Only roles whose names
begin with the prefix that the caller names are seen or touched.
"""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy
from sqlalchemy.exc import DBAPIError, IntegrityError

from mlflow_oidc.asking import Database, is_conflict, told
from mlflow_oidc.read_only import ReadOnly, plain_file

# The first version that has the tables.
SINCE = (3, 12, 0)

# What is to be done: create, describe, grant, revoke, delete, assign or unassign; then the workspace and the
# name of the role; then the description, or kind, pattern and permission, or the name of a user who is to
# have it; and the number of a user.
Change: TypeAlias = tuple[str, str, str, str, str, str, int]
# Which change was not made, counted from 0, and what is in the way; ``None`` when there is no such role.
Undone: TypeAlias = tuple[int, str | None]
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
                f"and this mlflow-oidc knows {', '.join(sorted(table.columns.keys()))}. Who has a role there "
                "already keeps it"
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

    def change(self, changes: Iterable[Change]) -> list[Undone]:
        """Makes all changes that can be made in one transaction, or none.

        Returns those that cannot be made. Each change says what is to be, so that whoever comes second finds
        nothing to do. Names are compared byte for byte, whatever the database takes for the same: a row with
        a name that is only like one of ours is somebody else's.
        """
        changes = list(changes)
        if not changes:
            return []
        looks = False
        for _ in range(_RACES):
            try:
                return self._database.run(partial(_carry_out, changes, looks))
            except IntegrityError:
                # Another worker was faster with the same role, or a user was removed: the next look sees it.
                # Or the database takes two names for one: from now on it is asked before a row is added.
                looks = True
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


def _carry_out(changes: Sequence[Change], looks: bool, connection: Any) -> list[Undone]:
    return _Work(connection, looks).do(changes)


class _Work:
    """A list of changes in one transaction."""

    def __init__(self, connection: Any, looks: bool) -> None:
        """With ``looks`` the database is asked what it takes for the same before a row is added to it."""
        self._connection = connection
        self._looks = looks
        self._is_sqlite = connection.dialect.name == "sqlite"
        self._made: set[int] = set()

    def do(self, changes: Sequence[Change]) -> list[Undone]:
        if self._is_sqlite:
            # Python's driver begins a transaction before the first statement that writes. A number that is
            # read before that waits with it for another writer, whose role it may be by then: SQLite gives
            # the number of a role that went to the next one that anybody makes.
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        numbers = self._numbers({(workspace, name) for _, workspace, name, *_ in changes})
        undone: list[Undone] = []
        for index, change in enumerate(changes):
            what, workspace, name, *_ = change
            number = numbers.get((workspace, name))
            if number is not None:
                if why := self._one(number, change):
                    undone.append((index, why))
                elif what == "delete":
                    del numbers[workspace, name]
            elif what == "create":
                if other := self._alike(workspace, name):
                    undone.append((index, f"MLflow has {other!r}, and the database takes the names for one"))
                else:
                    numbers[workspace, name] = self._create(workspace, name, change[3])
            elif what not in ("revoke", "delete", "unassign"):
                # Gone meanwhile. All that was to be taken from it is gone, too.
                undone.append((index, None))
        return undone

    def _one(self, number: int, change: Change) -> str | None:
        """Why it cannot be made of this role."""
        what, workspace, name, first, second, third, user = change
        which = (_ROLES.c.id == number, _ROLES.c.workspace == workspace, _ROLES.c.name == name)
        # Written by the number as long as it is that role's, on every database.
        role = sqlalchemy.select(_ROLES.c.id).where(*which).scalar_subquery()
        if what in ("create", "describe"):
            self._run(sqlalchemy.update(_ROLES).where(*which).values(description=first))
        elif what == "grant":
            return self._grant(number, role, first, second, third)
        elif what == "revoke":
            there = self._granted(number, first, second).get(second)
            self._run(sqlalchemy.delete(_GRANTS).where(_GRANTS.c.id == there, _GRANTS.c.role_id == role))
        elif what == "delete":
            for table in (_GRANTS, _ASSIGNED):
                self._run(sqlalchemy.delete(table).where(table.c.role_id == role))
            self._run(sqlalchemy.delete(_ROLES).where(*which))
        elif what == "assign":
            self._assign(number, role, user, first)
        elif what == "unassign":
            mine = (_ASSIGNED.c.role_id == role, _ASSIGNED.c.user_id == user)
            self._run(sqlalchemy.delete(_ASSIGNED).where(*mine))
        else:
            raise ValueError(what)
        return None

    def _run(self, statement: Any) -> Any:
        return self._connection.execute(statement)

    def _numbers(self, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
        query = sqlalchemy.select(_ROLES.c.id, _ROLES.c.workspace, _ROLES.c.name)
        if len(wanted) <= _FEW:
            names = {name for _, name in wanted}
            query = query.where(_ROLES.c.name.in_(names))
        # Compared here: some databases do not tell capitals apart.
        return {
            (workspace, name): int(number)
            for number, workspace, name in self._run(query).all()
            if (workspace, name) in wanted
        }

    def _alike(self, workspace: str, name: str) -> str | None:
        """The name of the role that the database takes for this one."""
        if not self._looks:
            return None
        query = sqlalchemy.select(_ROLES.c.name)
        found = self._run(query.where(_ROLES.c.workspace == workspace, _ROLES.c.name == name)).first()
        return None if found is None else str(found[0])

    def _create(self, workspace: str, name: str, description: str) -> int:
        values = {"workspace": workspace, "name": name, "description": description}
        inserted = self._run(sqlalchemy.insert(_ROLES).values(values))
        number = int(inserted.inserted_primary_key[0])
        if self._is_sqlite:
            # Left by the last role of that number, where foreign keys were off: nobody has the new one yet.
            for table in (_GRANTS, _ASSIGNED):
                self._run(sqlalchemy.delete(table).where(table.c.role_id == number))
        self._made.add(number)
        return number

    def _granted(self, number: int, kind: str, pattern: str) -> dict[str, int]:
        """The numbers of the grants on what the database takes for this pattern, by their patterns."""
        there = _GRANTS.c
        query = sqlalchemy.select(there.resource_pattern, there.id).where(
            there.role_id == number, there.resource_type == kind, there.resource_pattern == pattern
        )
        return {str(found): int(grant) for found, grant in self._run(query).all()}

    def _grant(self, number: int, role: Any, kind: str, pattern: str, permission: str) -> str | None:
        # Not by the count of updated rows: MySQL does not count those that are as they should be.
        is_new = number in self._made and not self._looks
        there = {} if is_new else self._granted(number, kind, pattern)
        if pattern in there:
            mine = (_GRANTS.c.id == there[pattern], _GRANTS.c.role_id == role)
            changed = sqlalchemy.update(_GRANTS).where(*mine)
            self._run(changed.values(permission=permission))
            return None
        if there:
            return f"the role has one on {next(iter(there))!r}, and the database takes the names for one"
        # The column takes no NULL: of a role that is not there any more it is an IntegrityError.
        values = {
            "role_id": role,
            "resource_type": kind,
            "resource_pattern": pattern,
            "permission": permission,
        }
        statement = sqlalchemy.insert(_GRANTS).values(values)
        if not pattern.isascii():
            return self._try(statement, pattern)
        self._run(statement)
        return None

    def _try(self, statement: Any, pattern: str) -> str | None:
        """Adds a grant on a name that the character set of the database may not have."""
        step = self._connection.begin_nested()
        try:
            number = self._run(statement).inserted_primary_key[0]
            query = sqlalchemy.select(_GRANTS.c.resource_pattern).where(_GRANTS.c.id == number)
            kept = self._run(query).scalar_one()
        except DBAPIError as error:
            if isinstance(error, IntegrityError) or error.connection_invalidated or is_conflict(error):
                raise
            step.rollback()
            return f"the database does not take the name: {told(error)}"
        if kept != pattern:
            # MySQL that is not strict keeps '?' for what it does not know.
            step.rollback()
            return f"the database keeps the name as {kept!r}"
        step.commit()
        return None

    def _assign(self, number: int, role: Any, user: int, username: str) -> None:
        mine = (_ASSIGNED.c.role_id == number, _ASSIGNED.c.user_id == user)
        if self._run(sqlalchemy.select(_ASSIGNED.c.id).where(*mine)).first() is not None:
            return
        # Of a user who is there: one who was removed must leave nothing that the next of that number gets.
        who = (_USERS.c.id == user, _USERS.c.username == username)
        source = sqlalchemy.select(_USERS.c.id, role).where(*who)
        self._run(sqlalchemy.insert(_ASSIGNED).from_select(["user_id", "role_id"], source))
