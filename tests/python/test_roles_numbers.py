"""Roles are written by their numbers: another writer must not put another role under one meanwhile."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from mlflow_oidc import roles as module
from mlflow_oidc.asking import Database
from mlflow_oidc.roles import Change, Roles
from support import databases

W = "default"
MLFLOW = "3.17.2"
# What a worker is about to do to the role 'oidc:reviewers'.
CHANGES: dict[str, list[Change]] = {
    "assign": [("assign", W, "oidc:reviewers", "bob", "", "", 1)],
    "grant": [("grant", W, "oidc:reviewers", "experiment", "*", "MANAGE", 0)],
    "a grant in letters": [("grant", W, "oidc:reviewers", "registered_model", "é", "MANAGE", 0)],
    "another permission": [("grant", W, "oidc:reviewers", "experiment", "77", "READ", 0)],
    "revoke": [("revoke", W, "oidc:reviewers", "experiment", "77", "", 0)],
    "describe": [("describe", W, "oidc:reviewers", "ours", "", "", 0)],
    "unassign": [("unassign", W, "oidc:reviewers", "", "", "", 2)],
    "delete": [("delete", W, "oidc:reviewers", "", "", "", 0)],
}
# The role goes, and its number to carol's own, as MLflow would make it.
MEANWHILE = (
    "DELETE FROM role_permissions",
    "DELETE FROM user_role_assignments",
    "DELETE FROM roles WHERE id = 7",
    f"INSERT INTO roles (id, name, workspace, description) VALUES (7, '__user_2__', '{W}', 'carol')",
    "INSERT INTO role_permissions (id, role_id, resource_type, resource_pattern, permission)"
    " VALUES (9, 7, 'experiment', '77', 'MANAGE')",
    "INSERT INTO user_role_assignments (user_id, role_id) VALUES (2, 7)",
)


@dataclass
class Place:
    """A database with bob, carol and the role 'oidc:reviewers' of number 7."""

    url: str
    engine: Any

    def rows(self) -> list[list[Any]]:
        columns = {
            "roles": "id, name, description",
            "role_permissions": "role_id, resource_pattern, permission",
            "user_role_assignments": "user_id, role_id",
        }
        with self.engine.connect() as connection:
            return [
                [tuple(row) for row in connection.execute(sqlalchemy.text(f"SELECT {what} FROM {table}"))]
                for table, what in columns.items()
            ]

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))


CAROLS = [[(7, "__user_2__", "carol")], [(7, "77", "MANAGE")], [(2, 7)]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def urls(home: Path) -> Callable[[str], str]:
    made: dict[str, str] = {}

    def url(kind: str) -> str:
        if kind not in made and kind == "sqlite":
            made[kind] = f"sqlite:///{home}/basic_auth.db"
            assert databases.upgrade(made[kind], MLFLOW, home).returncode == 0
        elif kind not in made:
            made[kind] = databases.prepared(kind, MLFLOW, home)
        return made[kind]

    return url


@pytest.fixture
def place(request: pytest.FixtureRequest, urls: Callable[[str], str]) -> Iterator[Place]:
    url = urls(request.param)
    # As MLflow makes it.
    made = Place(url, sqlalchemy.create_engine(url, pool_pre_ping=True))
    made.execute(
        "DELETE FROM role_permissions",
        "DELETE FROM user_role_assignments",
        "DELETE FROM roles",
        "DELETE FROM users",
        "INSERT INTO users (id, username, password_hash) VALUES (1, 'bob', 'b'), (2, 'carol', 'c')",
        f"INSERT INTO roles (id, name, workspace) VALUES (7, 'oidc:reviewers', '{W}')",
        "INSERT INTO role_permissions (id, role_id, resource_type, resource_pattern, permission)"
        " VALUES (9, 7, 'experiment', '77', 'MANAGE')",
    )
    yield made
    made.engine.dispose()


sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


@sqlite
@pytest.mark.parametrize("what", CHANGES)
def test_whoever_waits_for_the_lock_of_sqlite_reads_the_numbers_afterwards(place: Place, what: str) -> None:
    """Python's driver lets a transaction begin with the first write: before it, a number means nothing."""
    undone: list[Any] = []
    roles = Roles(Database(place.engine))
    with closing(sqlite3.connect(place.engine.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        worker = threading.Thread(target=lambda: undone.extend(roles.change(CHANGES[what])))
        worker.start()
        # Time to read what it may read; it cannot write.
        time.sleep(0.3)
        assert worker.is_alive()
        for statement in MEANWHILE:
            other.execute(statement)
        other.execute("COMMIT")
        worker.join(30)
    takes = what in ("revoke", "unassign", "delete")
    assert undone == ([] if takes else [(0, None)])
    assert place.rows() == CAROLS


@pytest.mark.parametrize("place", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("what", CHANGES)
def test_a_number_that_is_another_roles_by_now_is_not_written_to(
    place: Place, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the database does with numbers, and whenever another writer comes."""
    look = module._Work._numbers
    looks: list[int] = []
    # A transaction that repeats its reads would not let us see the change at all.
    engine = place.engine.execution_options(isolation_level="READ COMMITTED")

    def numbers(self: Any, wanted: Any) -> Any:
        found = look(self, wanted)
        looks.append(1)
        if len(looks) == 1:
            place.execute(*MEANWHILE)
        return found

    monkeypatch.setattr(module._Work, "_numbers", numbers)
    Roles(Database(engine)).change(CHANGES[what])
    assert place.rows() == CAROLS


@sqlite
def test_the_lock_of_another_is_waited_for_and_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow_oidc.asking._PATIENCE", 0.1)
    engine = sqlalchemy.create_engine(place.url, connect_args={"timeout": 0.1})
    roles = Roles(Database(engine))
    with closing(sqlite3.connect(engine.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            roles.change(CHANGES["assign"])
        assert roles.change([]) == [], "nothing to do needs no lock"
        other.execute("ROLLBACK")
    assert roles.change(CHANGES["assign"]) == []
    assert roles.of_user("oidc:", 1) == [(W, "oidc:reviewers")]
    engine.dispose()


@sqlite
def test_a_new_role_that_gets_the_number_of_one_that_went_is_nobodys(place: Place) -> None:
    """Neither in one list of changes, nor where something was left behind while foreign keys were off."""
    place.execute(f"INSERT INTO roles (id, name, workspace, description) VALUES (6, 'a', '{W}', 'a')")
    roles = Roles(Database(place.engine))
    assert roles.change(CHANGES["assign"]) == []
    anew: list[Change] = [
        ("delete", W, "oidc:reviewers", "", "", "", 0),
        ("create", W, "oidc:operators", "d", "", "", 0),
    ]
    assert roles.change(anew) == []
    assert place.rows() == [[(6, "a", "a"), (7, "oidc:operators", "d")], [], []]
    place.execute(
        "DELETE FROM roles WHERE id = 7", "INSERT INTO user_role_assignments (user_id, role_id) VALUES (1, 7)"
    )
    assert roles.change(anew) == []
    assert place.rows() == [[(6, "a", "a"), (7, "oidc:operators", "d")], [], []]
