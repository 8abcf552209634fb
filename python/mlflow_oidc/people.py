"""Who is bound to whom, who is signed in, and the changes that an administrator makes by hand.

This is another process than the servers', which may be running or not. It goes to MLflow's database by an
engine of its own, and to our tables where they are: in the same database, or beside a plain SQLite file in a
file of ours. That file is opened by Python's copy of SQLite alone here, in a process that no server runs in:
between processes the locks hold (docs/architecture.md, "Where the rows are").
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy.exc import IntegrityError

from mlflow_oidc import tables
from mlflow_oidc._native import NO_PASSWORD
from mlflow_oidc.users import Users

# How many rows are read at a time. Each read is short: on MLflow's SQLite file a reader keeps writers
# waiting, and somebody may be reading the output page by page.
PAGE = 500
# The shortest beginning of a session's number that may name it, in hexadecimal digits.
HANDLE_LIMIT = 6
# What `show` and `sessions` tell of it: 48 bits, so that two of a million sessions differ.
HANDLE = 12

identities, sessions = tables.identities, tables.sessions
users = sqlalchemy.table(
    "users",
    sqlalchemy.column("id", sqlalchemy.Integer),
    sqlalchemy.column("username", sqlalchemy.String),
    sqlalchemy.column("password_hash", sqlalchemy.String),
    sqlalchemy.column("is_admin", sqlalchemy.Boolean),
)


class Refused(Exception):
    """Nothing was changed or found; its text says why, what was found and what is expected."""


@dataclass(frozen=True)
class User:
    """A row of MLflow's ``users``."""

    id: int
    username: str
    is_admin: bool
    # Whether a login made it and nobody gave it a password since.
    is_ours: bool


@dataclass(frozen=True)
class Identity:
    """A row of ours: the subject of a provider that is an MLflow user."""

    issuer: str
    subject: str
    username: str
    user_id: int
    # The newest that the provider has told; ``None`` when no token has told any.
    groups: list[str] | None
    # When that was, in seconds since 1970; 0 when it did not say.
    told_at: int
    made_here: bool
    # How many sessions have not ended.
    sessions: int = 0


@dataclass(frozen=True)
class Session:
    """A row of ours: a browser that is signed in. Times are in seconds since 1970."""

    # The beginning of the row's number, in hexadecimal digits. The number is the SHA-256 of what the browser
    # holds, so that it opens nothing.
    handle: str
    username: str
    created_at: int
    expires_at: int
    checked_at: int


class People:
    """What an administrator may look at and change. Every method is one short transaction or several.

    Raises ``sqlalchemy.exc.SQLAlchemyError`` when the database gives no answer.
    """

    def __init__(self, mlflow: Any, ours: Any) -> None:
        """Takes an SQLAlchemy engine for MLflow's tables, and one for ours: the same one, or another."""
        self.mlflow = mlflow
        self._ours = ours

    def close(self) -> None:
        """Closes every connection."""
        self.mlflow.dispose()
        self._ours.dispose()

    # Looking.

    def issuers(self) -> tuple[str, ...]:
        """The first and the last issuer in the alphabet: none, one, or two of however many."""
        issuer = identities.c.issuer
        found = self._rows(self._ours, sqlalchemy.select(sqlalchemy.func.min(issuer)))
        found += self._rows(self._ours, sqlalchemy.select(sqlalchemy.func.max(issuer)))
        # MySQL tells the smallest of bytes as bytes.
        names = [name.decode() if isinstance(name, bytes) else name for (name,) in found if name is not None]
        return tuple(dict.fromkeys(names))

    def pages(self) -> Iterator[list[tuple[Identity, User | None]]]:
        """Everybody who is bound, by user name; the MLflow user is ``None`` where it is there no more."""
        query = sqlalchemy.select(*identities.c, _live_sessions(_now()))
        for page in self._by_name(self._ours, query, identities.c.username):
            bound = [_identity(row) for row in page]
            there = self.users([identity.username for identity in bound])
            yield [(identity, there.get(identity.username)) for identity in bound]

    def local_pages(self) -> Iterator[list[User]]:
        """The MLflow users who are nobody's: those with a password of MLflow's alone, for example."""
        for page in self._by_name(self.mlflow, sqlalchemy.select(*users.c), users.c.username):
            there = [_user(row) for row in page]
            query = sqlalchemy.select(identities.c.username).where(
                identities.c.username.in_([user.username for user in there if tables.fits(user.username)])
            )
            bound = {name for (name,) in self._rows(self._ours, query)}
            yield [user for user in there if user.username not in bound]

    def users(self, names: list[str]) -> dict[str, User]:
        """The MLflow users of these names."""
        query = sqlalchemy.select(*users.c).where(users.c.username.in_(names))
        return {user.username: user for user in map(_user, self._rows(self.mlflow, query))}

    def user(self, username: str) -> User | None:
        """The MLflow user of that very name."""
        return self.users([username]).get(username)

    def bound_to(self, username: str) -> Identity | None:
        """The identity that a user name is bound to."""
        found = self._identities(identities.c.username == username) if tables.fits(username) else []
        return found[0] if found else None

    def of_subject(self, subject: str, issuer: str | None = None) -> list[Identity]:
        """The identities of a subject, of every issuer or of one."""
        if not tables.fits(subject):
            return []
        which = identities.c.subject == subject
        return self._identities(which if issuer is None else which & (identities.c.issuer == issuer))

    def sessions_of(self, username: str) -> list[Session]:
        """The sessions of a user that have not ended, by age."""
        return self._sessions(identities.c.username == username) if tables.fits(username) else []

    def session_pages(self) -> Iterator[list[Session]]:
        """All sessions that have not ended, by user name and age."""
        live = sqlalchemy.exists().where(_theirs(), sessions.c.expires_at > _now())
        query = sqlalchemy.select(identities.c.username).where(live)
        for page in self._by_name(self._ours, query, identities.c.username):
            # By the ends of the page: for five hundred names PostgreSQL would read the whole table.
            yield self._sessions(identities.c.username.between(page[0].username, page[-1].username))

    def _sessions(self, whose: Any) -> list[Session]:
        query = (
            sqlalchemy.select(
                sessions.c.id_hash,
                identities.c.username,
                sessions.c.created_at,
                sessions.c.expires_at,
                sessions.c.checked_at,
            )
            .join_from(sessions, identities, _theirs())
            .where(whose, sessions.c.expires_at > _now())
            .order_by(identities.c.username, sessions.c.created_at, sessions.c.id_hash)
        )
        return [
            Session(row.id_hash.hex()[:HANDLE], row.username, row.created_at, row.expires_at, row.checked_at)
            for row in self._rows(self._ours, query)
        ]

    # Changing.

    def make(self, username: str) -> User:
        """Makes an MLflow user as a login would, without a password.

        Raises:
            Refused: There is one of the name, or of a name that the database takes for it.
        """
        # From the range in which a login numbers them (src/app/accounts.rs, `make`).
        number = (1 << 30) + secrets.randbelow(1 << 30)
        made = Users(self.mlflow).create(username, NO_PASSWORD, False, number)
        user = self.user(username)
        if made != "made" or user is None:
            raise Refused(
                f"MLflow has a user {username!r} by now, or one whose name the database takes for it"
            )
        return user

    def link(self, wanted: Identity, replaces: Identity | None) -> None:
        """Binds an identity to a user name, in place of another one and its sessions where there is one.

        Raises:
            Refused: The name or the subject was bound meanwhile.
        """
        row = {column.name: getattr(wanted, column.name) for column in identities.c} | {"groups": None}
        try:
            with self._ours.begin() as connection:
                if replaces is not None:
                    _remove(connection, replaces)
                connection.execute(sqlalchemy.insert(identities).values(row))
        except IntegrityError:
            raise Refused(
                "somebody else has bound the user or the subject in this moment; look again"
            ) from None

    def unlink(self, identity: Identity) -> bool:
        """Removes an identity and its sessions; ``False`` when it was not there any more."""
        with self._ours.begin() as connection:
            return _remove(connection, identity)

    def sign_out(self, identity: Identity | None) -> int:
        """Ends the sessions of somebody, or all of them; how many there were that had not ended."""
        which = (
            sqlalchemy.true()
            if identity is None
            else (sessions.c.issuer == identity.issuer) & (sessions.c.subject == identity.subject)
        )
        live = sqlalchemy.select(sqlalchemy.func.count()).where(which, sessions.c.expires_at > _now())
        with self._ours.begin() as connection:
            count: int = connection.execute(live.select_from(sessions)).scalar_one()
            connection.execute(sqlalchemy.delete(sessions).where(which))
        return count

    def end_session(self, handle: str) -> Session:
        """Ends the one session whose number begins so.

        Raises:
            Refused: There is none, or there are several.
        """
        which = sessions.c.id_hash.between(
            bytes.fromhex(handle.ljust(64, "0")), bytes.fromhex(handle.ljust(64, "f"))
        )
        query = sqlalchemy.select(
            sessions.c.id_hash, sessions.c.created_at, sessions.c.expires_at, sessions.c.checked_at
        ).where(which, sessions.c.expires_at > _now())
        # The name is told; a session whose identity has gone would have none.
        name = sqlalchemy.select(identities.c.username).where(_theirs()).scalar_subquery()
        found = self._rows(self._ours, query.add_columns(name.label("username")).limit(2))
        if len(found) != 1:
            many = "several sessions" if found else "no session"
            raise Refused(f"{many} begins with {handle}; mlflow-oidc users sessions lists them")
        (row,) = found
        with self._ours.begin() as connection:
            connection.execute(sqlalchemy.delete(sessions).where(sessions.c.id_hash == row.id_hash))
        return Session(
            row.id_hash.hex()[:HANDLE], row.username or "", row.created_at, row.expires_at, row.checked_at
        )

    def _identities(self, which: Any) -> list[Identity]:
        query = sqlalchemy.select(*identities.c, _live_sessions(_now())).where(which)
        return [_identity(row) for row in self._rows(self._ours, query)]

    def _by_name(self, engine: Any, query: Any, name: Any) -> Iterator[list[Any]]:
        """A query in the order of a column that has each value once, some rows at a time."""
        last = None
        while True:
            page = query if last is None else query.where(name > last)
            rows = self._rows(engine, page.order_by(name).limit(PAGE))
            if rows:
                yield rows
            if len(rows) < PAGE:
                return
            last = rows[-1].username

    def _rows(self, engine: Any, query: Any) -> list[Any]:
        with engine.connect() as connection:
            rows: list[Any] = connection.execute(query).fetchall()
            return rows


def is_valid(identity: Identity, user: User | None) -> bool:
    """Whether MLflow still has the very user that an identity was bound to, or a login has still to look."""
    return user is not None and identity.user_id in (0, user.id)


def _now() -> int:
    return int(time.time())


def _theirs() -> Any:
    return (sessions.c.issuer == identities.c.issuer) & (sessions.c.subject == identities.c.subject)


def _live_sessions(now: int) -> Any:
    return (
        sqlalchemy.select(sqlalchemy.func.count())
        .select_from(sessions)
        .where(_theirs(), sessions.c.expires_at > now)
        .correlate(identities)
        .scalar_subquery()
        .label("live")
    )


def _remove(connection: Any, identity: Identity) -> bool:
    for table in (sessions, identities):
        statement = sqlalchemy.delete(table).where(
            table.c.issuer == identity.issuer, table.c.subject == identity.subject
        )
        removed = connection.execute(statement).rowcount
    return bool(removed)


def _identity(row: Any) -> Identity:
    return Identity(
        row.issuer,
        row.subject,
        row.username,
        int(row.user_id),
        tables.groups_of(row.groups),
        int(row.told_at),
        bool(row.made_here),
        int(row.live),
    )


def _user(row: Any) -> User:
    return User(int(row.id), row.username or "", bool(row.is_admin), row.password_hash == NO_PASSWORD)
