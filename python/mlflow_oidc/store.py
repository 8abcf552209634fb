"""Identities and sessions in MLflow's own database, through MLflow's own engine: for every database but
SQLite.

The same methods as the store of the native module, and the same answers; ``tests/python/test_store.py``
holds both to them. Rows are tuples, in the order of ``src/py/store.rs``. With a replica for reading
(``read_database_uri``) ours are read where they are written: a session that was ended must not come back
from a replica that lags behind.

Each method is one statement or a few that are good alone, so that no isolation level of the server matters:
nobody decides by a snapshot that is older than the row that they lost a race against.
"""

import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import sqlalchemy
from sqlalchemy import and_, case, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateColumn, CreateTable

from mlflow_oidc.asking import Database, Unanswered, told
from mlflow_oidc.tables import NAME_LIMIT, fits, groups_of, identities, metadata, sessions

T = TypeVar("T")
# issuer, subject, username, user_id, groups, told_at, made_here
Identity: TypeAlias = tuple[str, str, str, int, list[str] | None, int, bool]
# id_hash, issuer, subject, provider_sid, created_at, expires_at, checked_at, sealed ID token, sealed refresh
# token
Session: TypeAlias = tuple[bytes, str, str, str | None, int, int, int, str | None, str | None]

_I, _S = identities.c, sessions.c
_IDENTITY = (_I.issuer, _I.subject, _I.username, _I.user_id, _I.groups, _I.told_at, _I.made_here)
_SESSION = (
    _S.id_hash,
    _S.issuer,
    _S.subject,
    _S.provider_sid,
    _S.created_at,
    _S.expires_at,
    _S.checked_at,
    _S.sealed_id_token,
    _S.sealed_refresh_token,
)
# How often the tables, or a row that is made and removed under our hands, are looked at again.
_AGAIN = 10


class Unfit(Unanswered):
    """A name that the tables have no room for. It is never cut: the rest may be another person's name."""


class Store:
    """The store port over an engine. Errors are those of ``asking.Database``."""

    def __init__(self, database: Database) -> None:
        """Takes the database; asks nothing yet."""
        self._database = database

    def prepare(self) -> None:
        """Makes what is missing of the tables; several processes may do so at once.

        Nothing is tried where nothing is missing: the user of the database may have no right to.
        """
        for attempt in range(_AGAIN):
            try:
                with self._database.engine.begin() as connection:
                    _make_what_is_missing(connection)
                return
            except DBAPIError as error:
                # PostgreSQL and MySQL tell the loser of a race all kinds of things: of a type, a table, an
                # index.
                if attempt == _AGAIN - 1:
                    raise Unanswered(told(error)) from None
                time.sleep(0.1)

    def identity(self, issuer: str, subject: str, waits: bool = True) -> Identity | None:
        """The identity of a subject; without ``waits`` an answer has to come at once."""
        return None if not (fits(issuer) and fits(subject)) else self._one(_subject(issuer, subject), waits)

    def identity_of_user(self, username: str, waits: bool = True) -> Identity | None:
        """The identity that a user name is bound to."""
        return None if not fits(username) else self._one(_I.username == username, waits)

    def bind(self, row: Identity) -> Identity | None:
        """Binds a new identity: the row that counts, or ``None`` where another identity has the name."""
        issuer, subject, username = _fitting(*row[:3])
        for _ in range(_AGAIN):
            try:
                self._database.run(
                    lambda connection: connection.execute(insert(identities).values(_identity_values(row)))
                )
            except IntegrityError:
                # Whose row is there decides. Asked in a transaction of its own: the one that lost may have
                # begun, and read, before the winner's row was there.
                found = self.identity(issuer, subject)
                if found is None and self.identity_of_user(username) is None:
                    # Both are gone again.
                    continue
                return found
            return self.identity(issuer, subject)
        raise TimeoutError("the rows come and go")

    def note(self, row: Identity) -> None:
        """Notes what may change, and the groups unless newer ones have been noted meanwhile."""
        issuer, subject, _, user_id, groups, told_at, made_here = row
        newer = _I.told_at > told_at
        statement = (
            update(identities)
            .where(_subject(*_fitting(issuer, subject)))
            .values(
                {
                    # MySQL sets one after the other; after the new time the groups are judged the same.
                    _I.groups: case((newer, _I.groups), else_=_groups_text(groups)),
                    _I.told_at: case((newer, _I.told_at), else_=told_at),
                    _I.user_id: user_id,
                    _I.made_here: made_here,
                }
            )
        )
        self._database.run(lambda connection: connection.execute(statement))

    def add_session(self, row: Session) -> None:
        """Adds a session and removes those that have expired."""
        _fitting(row[1], row[2], row[3] or "")
        sweep = delete(sessions).where(_S.expires_at <= row[4])
        # By itself: in one transaction with the new row, two logins lock the gaps of InnoDB's index against
        # each other.
        self._database.run(lambda connection: connection.execute(sweep))
        values = {column.name: value for column, value in zip(_SESSION, row, strict=True)}

        def add(connection: Any) -> None:
            connection.execute(insert(sessions).values(values))

        def add_what_is_missing(connection: Any) -> None:
            # The connection was lost, perhaps after the row had been written.
            if _session_of(connection, row[0]) != row:
                add(connection)

        try:
            self._database.run(add, after_loss=add_what_is_missing)
        except IntegrityError:
            raise Unanswered("a session of that id is there") from None

    def session(self, id_hash: bytes, waits: bool = True) -> tuple[Session, Identity] | None:
        """A session and whose it is."""
        query = (
            select(*_SESSION, *_IDENTITY)
            .select_from(sessions)
            .join(identities, and_(_I.issuer == _S.issuer, _I.subject == _S.subject))
            .where(_S.id_hash == id_hash)
        )
        row = self._ask(lambda connection: connection.execute(query).first(), waits)
        return None if row is None else (_session(row[: len(_SESSION)]), _identity(row[len(_SESSION) :]))

    def begin_recheck(self, id_hash: bytes, now: int, until: int) -> bool:
        """Takes the right to ask the provider about a session; ``False`` when somebody else has it."""
        mine = _S.id_hash == id_hash
        take = update(sessions).where(mine, _S.recheck_until <= now).values(recheck_until=until)
        there = select(_S.id_hash).where(mine, _S.recheck_until == until)
        return self._once(lambda connection: _changes(connection, take) == 1, there)

    def renew_session(self, row: Session, held: int, until: int) -> bool:
        """Writes what asking brought, for whoever has the right to ask until ``held``, and keeps that until
        ``until`` (seconds since 1970; 0 is nobody); ``False`` when somebody else has it, or the session is
        gone."""
        _fitting(row[3] or "")
        values = {
            "provider_sid": row[3],
            "checked_at": row[6],
            "sealed_id_token": row[7],
            "sealed_refresh_token": row[8],
            "recheck_until": until,
        }
        mine = _S.id_hash == row[0]
        renew = update(sessions).where(mine, _S.recheck_until == held).values(values)
        there = select(_S.id_hash).where(mine, *(sessions.c[name] == values[name] for name in values))
        return self._once(lambda connection: _changes(connection, renew) == 1, there)

    def remove_session(self, id_hash: bytes) -> Session | None:
        """Removes a session and returns what it was; of many who do so at once, one gets it."""

        def remove(connection: Any) -> Session | None:
            # MySQL has no RETURNING. The lock makes the others wait here, and then they find nothing.
            row = _session_of(connection, id_hash, locks=True)
            gone = _changes(connection, delete(sessions).where(_S.id_hash == id_hash)) == 1
            return row if gone else None

        return self._once(remove, select(1))

    def remove_ended(self, issuer: str, subject: str | None, provider_sid: str | None) -> int:
        """Removes the sessions that a provider says have ended, and says how many."""
        if not all(fits(name) for name in (issuer, subject or "", provider_sid or "")):
            return 0
        # A comparison with None would be IS NULL here: what was not told matches nothing. Each by
        # itself, because of both joined by OR SQLite goes through all sessions of the provider.
        which = []
        if subject is not None:
            of_subject = _S.subject == subject
            which.append(of_subject if provider_sid is None else and_(_S.provider_sid.is_(None), of_subject))
        if provider_sid is not None:
            which.append(_S.provider_sid == provider_sid)
        return sum(self._changed(delete(sessions).where(_S.issuer == issuer, each)) for each in which)

    def _one(self, where: Any, waits: bool) -> Identity | None:
        query = select(*_IDENTITY).where(where)
        row = self._ask(lambda connection: connection.execute(query).first(), waits)
        return None if row is None else _identity(row)

    def _ask(self, work: Any, waits: bool) -> Any:
        return self._database.run(work) if waits else self._database.now(work)

    def _changed(self, statement: Any) -> int:
        return self._database.run(lambda connection: _changes(connection, statement))

    def _once(self, work: Callable[[Any], T], there: Any) -> T:
        """Does what one of many gets done.

        Where the connection was lost afterwards, perhaps while it was being committed, and nothing is left to
        do, it counts as done if ``there`` finds a row. Only then: others write the same, such as the second
        until which they have a right.
        """
        done: T | None = None

        def do(connection: Any) -> T:
            nonlocal done
            # Nothing of an earlier try was kept.
            done = None
            done = work(connection)
            return done

        def do_or_tell(connection: Any) -> T:
            before = done
            now = do(connection)
            return before if not now and before and connection.execute(there).first() else now

        return self._database.run(do, after_loss=do_or_tell)


def _changes(connection: Any, statement: Any) -> int:
    """Carries it out, and says how many rows it changed."""
    return int(connection.execute(statement).rowcount)


def _make_what_is_missing(connection: Any) -> None:
    for table in metadata.sorted_tables:
        inspector = sqlalchemy.inspect(connection)
        if not inspector.has_table(table.name):
            connection.execute(CreateTable(table))
            inspector = sqlalchemy.inspect(connection)
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                words = CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(sqlalchemy.text(f"ALTER TABLE {table.name} ADD {words}"))
        # MySQL commits each of these by itself, so that a table without its indexes may be there.
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if index.name not in indexes:
                index.create(connection)


def _subject(issuer: str, subject: str) -> Any:
    return and_(_I.issuer == issuer, _I.subject == subject)


def _fitting(*names: str) -> tuple[str, ...]:
    for name in names:
        if not fits(name):
            raise Unfit(f"a name of {len(name)} characters; at most {NAME_LIMIT} fit, and no NUL")
    return names


def _identity_values(row: Identity) -> dict[str, Any]:
    values: dict[str, Any] = {column.name: value for column, value in zip(_IDENTITY, row, strict=True)}
    values["groups"] = _groups_text(row[4])
    return values


def _groups_text(groups: list[str] | None) -> str | None:
    # In ASCII, which every character set of a column has; MariaDB writes '?' for what its own has not.
    return None if groups is None else json.dumps(groups)


def _identity(row: Any) -> Identity:
    issuer, subject, username, user_id, text, told_at, made_here = row
    return issuer, subject, username, int(user_id), groups_of(text), int(told_at), bool(made_here)


def _session(row: Any) -> Session:
    id_hash, issuer, subject, sid, created_at, expires_at, checked_at, id_token, refresh_token = row
    times = int(created_at), int(expires_at), int(checked_at)
    return id_hash, issuer, subject, sid, *times, id_token, refresh_token


def _session_of(connection: Any, id_hash: bytes, locks: bool = False) -> Session | None:
    query = select(*_SESSION).where(_S.id_hash == id_hash)
    row = connection.execute(query.with_for_update() if locks else query).first()
    return None if row is None else _session(row)
