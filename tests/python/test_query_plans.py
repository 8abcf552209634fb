"""Every statement on the way of a login, a bearer and a session finds its rows by an index.

With ten people nobody would notice a whole table being read; with 100,000 it is each request's time. The
statements are not copied: those of the native store are read out of its source, the others are caught on
their way to the database.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy

from mlflow_oidc import _native
from mlflow_oidc.asking import Database
from mlflow_oidc.people import Identity, People, Refused
from mlflow_oidc.store import Store
from mlflow_oidc.users import Users
from support import databases, venvs

SOURCE = venvs.REPOSITORY / "src" / "edge" / "store" / "sqlite.rs"
ISSUER = "https://issuer.example"
PEOPLE = 100_000
USERS = (
    "CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, username VARCHAR(255) UNIQUE,"
    " password_hash VARCHAR(255), is_admin BOOLEAN)"
)


def native_statements() -> list[str]:
    """The statements of the native store, as they stand in its source."""
    code = re.sub(r"(?m)^\s*//.*$", "", SOURCE.read_text())
    code = code.partition("const ADDED")[0].partition("const SCHEMA")[0] + code.partition("const ADDED")[2]
    texts = [re.sub(r"\s+", " ", text) for text in re.findall(r'"((?:[^"\\]|\\.)*)"', code)]
    return [text for text in texts if re.match(r"(SELECT \*|INSERT|UPDATE|DELETE) ", text)]


def reads_all(line: str) -> bool:
    """Whether SQLite goes through a whole table: all of them are of one issuer."""
    return (line.startswith("SCAN") and "INDEX" not in line) or "(issuer=?)" in line


@pytest.fixture
def file(tmp_path: Path) -> sqlite3.Connection:
    _native.prepare_tables(str(tmp_path / "basic_auth.db"))
    return sqlite3.connect(tmp_path / "basic_auth.db-oidc")


def test_the_native_store_reads_no_whole_table(file: sqlite3.Connection) -> None:
    statements = native_statements()
    verbs = sorted(statement.split()[0] for statement in statements)
    assert verbs == ["DELETE"] * 5 + ["INSERT"] * 2 + ["SELECT"] * 3 + ["UPDATE"] * 3, statements
    for statement in statements:
        # One value for each number, or for each name.
        numbers = {int(number) for number in re.findall(r"\?(\d+)", statement)}
        plan = file.execute(f"EXPLAIN QUERY PLAN {statement}", [None] * max(numbers)).fetchall()
        told = [row[3] for row in plan]
        assert not [line for line in told if reads_all(line) or line.startswith("SCAN")], (statement, told)
        if not statement.startswith("INSERT"):
            assert any(line.startswith("SEARCH") for line in told), (statement, told)
    file.close()


class Caught(NamedTuple):
    text: str
    values: Any


class Engine:
    """An engine whose statements are noted."""

    def __init__(self, address: str) -> None:
        self.engine = sqlalchemy.create_engine(address)
        self.caught: list[Caught] = []
        sqlalchemy.event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, _c: Any, _cursor: Any, text: str, values: Any, _context: Any, _many: bool) -> None:
        self.caught.append(Caught(text, values))

    def of(self, work: Callable[[], Any]) -> list[Caught]:
        """What was sent meanwhile."""
        self.caught.clear()
        work()
        sent = [each for each in self.caught if not each.text.startswith(("SHOW", "select pg", "BEGIN"))]
        assert sent
        return sent

    def plan(self, statement: Caught) -> str:
        with self.engine.connect() as connection:
            explain = "EXPLAIN QUERY PLAN" if self.engine.dialect.name == "sqlite" else "EXPLAIN"
            rows = connection.exec_driver_sql(f"{explain} {statement.text}", statement.values).fetchall()
        return "\n".join(str(row[-1]) for row in rows)


@pytest.fixture(scope="module")
def crowded() -> Iterator[Engine]:
    """PostgreSQL with so many people, each with a session: with few it reads whole tables, and rightly."""
    engine = Engine(databases.running("postgresql").fresh())
    Store(Database(engine.engine)).prepare()
    now = int(time.time())
    numbers = f"generate_series(1, {PEOPLE}) AS n"
    with engine.engine.begin() as connection:
        for statement in (
            USERS.replace("INTEGER NOT NULL PRIMARY KEY", "SERIAL PRIMARY KEY"),
            "INSERT INTO users (username, password_hash, is_admin)"
            f" SELECT 'person-' || n, 'oidc', false FROM {numbers}",
            "INSERT INTO oidc_identities"
            f" SELECT '{ISSUER}', 'subject-' || n, 'person-' || n, n, '[\"MLFLOW\"]', {now}, true"
            f" FROM {numbers}",
            "INSERT INTO oidc_sessions (id_hash, issuer, subject, provider_sid, created_at, expires_at)"
            f" SELECT sha256(n::text::bytea), '{ISSUER}', 'subject-' || n, 'sid-' || n, {now}, {now} + n"
            f" FROM {numbers}",
        ):
            connection.exec_driver_sql(statement)
    with engine.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    yield engine
    engine.engine.dispose()
    databases.end()


def of_a_login(engine: Engine) -> list[tuple[str, Callable[[], Any]]]:
    """All that the server asks."""
    database = Database(engine.engine)
    store, users = Store(database), Users(engine.engine, database)
    now, number = int(time.time()), b"n" * 32
    new = (ISSUER, "subject-new", "person-new", 0, ["MLFLOW"], now, True)
    session = (number, ISSUER, "subject-new", "sid-new", now - 10, now + 600, now, None, None)
    return [
        ("find a user", lambda: users.find("person-77")),
        ("make a user", lambda: users.create("person-new", "oidc", False, 1 << 30)),
        ("write the flag", lambda: users.set_admin("person-77", False)),
        ("find a subject", lambda: store.identity(ISSUER, "subject-77")),
        ("find whose a name is", lambda: store.identity_of_user("person-77")),
        ("bind", lambda: store.bind(new)),
        ("note", lambda: store.note(new)),
        ("add a session", lambda: store.add_session(session)),
        ("find a session", lambda: store.session(number)),
        ("begin to ask the provider", lambda: store.begin_recheck(number, now, now + 60)),
        ("renew a session", lambda: store.renew_session(session, 0, 0)),
        ("end a session", lambda: store.remove_session(number)),
        ("end by sid", lambda: store.remove_ended(ISSUER, None, "sid-77")),
        ("end by sid and subject", lambda: store.remove_ended(ISSUER, "subject-77", "sid-77")),
        ("end by subject", lambda: store.remove_ended(ISSUER, "subject-77", None)),
    ]


def of_an_administrator(engine: Engine) -> list[tuple[str, Callable[[], Any]]]:
    """What `mlflow-oidc users` asks about one person, and a page of a list."""
    people = People(engine.engine, engine.engine)
    one = Identity(ISSUER, "subject-78", "person-78", 78, None, 0, True)

    def nothing_begins_so() -> None:
        with pytest.raises(Refused):
            people.end_session("00" * 16)

    return [
        ("issuers", people.issuers),
        ("a page", lambda: next(people.pages())),
        ("a page of local accounts", lambda: next(people.local_pages())),
        ("a page of sessions", lambda: next(people.session_pages())),
        ("one", lambda: people.bound_to("person-78")),
        ("a subject of an issuer", lambda: people.of_subject("subject-78", ISSUER)),
        ("sessions of one", lambda: people.sessions_of("person-78")),
        ("sign out", lambda: people.sign_out(one)),
        ("end by number", nothing_begins_so),
        ("unlink", lambda: people.unlink(one)),
        ("link", lambda: people.link(one, None)),
    ]


def test_postgresql_reads_no_whole_table_for_a_login(crowded: Engine) -> None:
    """For a page of `users list`, which asks for 500 names at once, its planner may choose to."""
    for what, work in of_a_login(crowded):
        for statement in crowded.of(work):
            whole = [line[:200] for line in crowded.plan(statement).splitlines() if "Seq Scan" in line]
            assert not whole, f"{what}: {statement.text[:1000]}"


@pytest.mark.parametrize("asked", [of_a_login, of_an_administrator])
def test_sqlalchemy_on_sqlite_reads_no_whole_table(
    tmp_path: Path, asked: Callable[[Engine], list[tuple[str, Callable[[], Any]]]]
) -> None:
    engine = Engine(f"sqlite:///{tmp_path}/one.db")
    Store(Database(engine.engine)).prepare()
    with engine.engine.begin() as connection:
        connection.exec_driver_sql(USERS)
        connection.exec_driver_sql("INSERT INTO users VALUES (77, 'person-77', 'oidc', 0)")
        connection.exec_driver_sql(
            f"INSERT INTO oidc_identities VALUES ('{ISSUER}', 'subject-77', 'person-77', 77, NULL, 0, 1)"
        )
    for what, work in asked(engine):
        if what == "a page of sessions":
            # Nobody has one here; PostgreSQL, above, has it planned with a hundred thousand.
            continue
        for statement in engine.of(work):
            plan = engine.plan(statement)
            # In the order of an index, a page is its first entries.
            whole = [line for line in plan.splitlines() if reads_all(line)]
            assert not whole, f"{what}: {statement.text}\n{plan}"
    engine.engine.dispose()
