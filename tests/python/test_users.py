"""MLflow's `users`, row by row, on databases whose collations see less than we do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy

from mlflow_oidc.asking import Database, Unanswered
from mlflow_oidc.users import Users
from support import databases

HASH = "oidc:no-password"
TABLE = """CREATE TABLE users (id {number} PRIMARY KEY, username VARCHAR(255) {collation},
password_hash VARCHAR(255), is_admin BOOLEAN, UNIQUE (username))"""
COLLATIONS = {
    "postgresql": "",
    "mariadb": "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "mariadb-bin": "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "mariadb-latin1": "CHARACTER SET latin1 COLLATE latin1_swedish_ci",
}


class Table:
    def __init__(self, name: str) -> None:
        kind = name.partition("-")[0]
        self.url = databases.running(kind).fresh()
        number = "SERIAL" if kind == "postgresql" else "INTEGER AUTO_INCREMENT"
        databases.execute(self.url, TABLE.format(number=number, collation=COLLATIONS[name]))
        # As an operator may have it set who had trouble with values that are too long: then MariaDB cuts
        # them.
        lax = "&init_command=SET%20sql_mode%3D%27%27" if kind == "mariadb" else ""
        self.engine = sqlalchemy.create_engine(self.url + lax, pool_pre_ping=True)
        self.users = Users(self.engine)

    def rows(self) -> list[tuple[Any, ...]]:
        return databases.rows(self.url, "SELECT username, is_admin FROM users ORDER BY id")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    made = Table(request.param)
    yield made
    made.engine.dispose()


everywhere = pytest.mark.parametrize("table", COLLATIONS, indirect=True)


@everywhere
def test_a_user_is_made_once_and_found_with_its_number(table: Table) -> None:
    users = table.users
    assert users.find("alice") is None
    assert users.create("alice", HASH, False, 1 << 30) == "made"
    assert users.create("alice", HASH, True, 1 << 30) == "there"
    found = users.find("alice")
    assert found is not None
    assert found[0] < 1 << 30, "these databases choose a number by themselves, and none twice"
    assert found[1:] == (HASH, False)
    users.set_admin("alice", True)
    assert users.find("alice") == (found[0], HASH, True)
    assert users.name_of("alice") == "alice"
    assert users.name_of("nobody") == "nobody"


ALIKE = [("Alice", "alice"), ("alice ", "alice"), ("älice", "alice"), ("ALICE", "alice")]


@everywhere
@pytest.mark.parametrize(("known", "asked"), ALIKE)
def test_nobody_is_found_under_a_name_that_is_only_like_theirs(table: Table, known: str, asked: str) -> None:
    users = table.users
    assert users.create(known, HASH, False, 0) == "made"
    for waits in (True, False):
        try:
            assert users.find(asked, waits) is None
        except TimeoutError:
            assert not waits
    users.set_admin(asked, True)
    assert [bool(flag) for _, flag in table.rows()] == [False], "nobody else became an administrator"
    made = users.create(asked, HASH, True, 0)
    if made == "alike":
        assert users.name_of(asked) == known
        assert users.find(asked) is None
        assert [bool(flag) for _, flag in table.rows()] == [False]
    else:
        assert made == "made"
        assert len(table.rows()) == 2
        assert users.find(known) != users.find(asked)


@pytest.mark.parametrize("table", ["mariadb"], indirect=True)
@pytest.mark.parametrize(("known", "asked"), ALIKE)
def test_such_a_name_is_told_from_one_that_is_there(table: Table, known: str, asked: str) -> None:
    table.users.create(known, HASH, False, 0)
    assert table.users.create(asked, HASH, False, 0) == "alike"


@pytest.mark.parametrize("table", ["mariadb-latin1"], indirect=True)
def test_a_name_that_the_column_would_change_is_not_written(table: Table) -> None:
    """Outside of its strict mode MariaDB writes 'alice?' for it, or 'alice' and no more."""
    for name in ("alice\U0001f600", "日本", "alice\U0001f600 and more"):
        # Or it cannot even be compared with what is there (1267).
        with pytest.raises(Unanswered, match="cannot hold|1267"):
            table.users.create(name, HASH, True, 0)
        assert table.rows() == []


def test_a_new_user_is_waited_for_until_the_replica_has_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    primary, replica = Table("postgresql"), Table("postgresql")
    users = Users(primary.engine, Database(primary.engine), Database(replica.engine))
    users.create("alice", HASH, False, 0)
    monkeypatch.setattr("mlflow_oidc.users._REPLICA_PATIENCE", 0.2)
    with pytest.raises(TimeoutError):
        users.wait_until_seen("alice")
    Users(replica.engine).create("alice", HASH, False, 0)
    users.wait_until_seen("alice")
    Users(primary.engine).wait_until_seen("nobody")
    for each in (primary, replica):
        each.engine.dispose()
