"""Roles on a database to which names that differ by capitals, or by blanks at the end, are one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy

from mlflow_oidc.asking import Database
from mlflow_oidc.roles import Change, Roles
from support import databases

PREFIX = "oidc:"
W = "default"


def change(what: str, name: str, *texts: str, user: int = 0) -> Change:
    first, second, third, *_ = (*texts, "", "", "")
    return what, W, name, first, second, third, user


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return databases.prepared("mariadb", "3.17.2", tmp_path_factory.mktemp("home"))


@pytest.fixture
def roles(url: str) -> Iterator[Roles]:
    engine = sqlalchemy.create_engine(url)
    databases.execute(
        url, "DELETE FROM user_role_assignments; DELETE FROM role_permissions; DELETE FROM roles"
    )
    yield Roles(Database(engine))
    engine.dispose()


def names(url: str) -> list[str]:
    return [str(name) for (name,) in databases.rows(url, "SELECT name FROM roles ORDER BY BINARY name")]


def grants(url: str) -> list[tuple[object, ...]]:
    query = "SELECT resource_pattern, permission FROM role_permissions ORDER BY BINARY resource_pattern"
    return [tuple(row) for row in databases.rows(url, query)]


def test_a_role_that_is_renamed_by_a_capital_takes_the_place_of_the_old_one(roles: Roles, url: str) -> None:
    assert roles.change([change("create", "oidc:scientists", "ours")]) == []
    assert (
        roles.change([change("delete", "oidc:scientists"), change("create", "oidc:Scientists", "ours")]) == []
    )
    assert [name for _, name, _, _ in roles.kept(PREFIX)] == ["oidc:Scientists"]


@pytest.mark.parametrize("theirs", ["OIDC:scientists", "oidc:scientists "])
def test_somebody_elses_role_of_such_a_name_costs_that_role_alone(
    roles: Roles, url: str, theirs: str
) -> None:
    databases.execute(url, f"INSERT INTO roles (name, workspace) VALUES ('{theirs}', '{W}')")
    databases.execute(url, "INSERT INTO users (username, password_hash) VALUES ('a', 'b') ")
    ((user,),) = databases.rows(url, "SELECT id FROM users WHERE username = 'a'")
    assert isinstance(user, int)
    wanted = [
        change("create", "oidc:scientists", "ours"),
        change("grant", "oidc:scientists", "experiment", "*", "EDIT"),
        change("create", "oidc:readers", "ours"),
        change("grant", "oidc:readers", "experiment", "*", "READ"),
        change("assign", "oidc:scientists", "a", user=user),
        change("assign", "oidc:readers", "a", user=user),
    ]
    for _ in range(2):
        undone = roles.change(wanted)
        assert undone[0][0] == 0
        assert repr(theirs) in str(undone[0][1])
        assert undone[1:] == [(1, None), (4, None)]
    assert names(url) == sorted([theirs, "oidc:readers"])
    assert grants(url) == [("*", "READ")]
    # Neither does anybody get anything from it, nor does it lose anything.
    assert roles.of_user(PREFIX, user) == [(W, "oidc:readers")]
    assert roles.change([change("describe", "oidc:scientists", "ours")]) == [(0, None)]
    assert roles.change([change("delete", "oidc:scientists")]) == []
    assert theirs in names(url)
    # A number that is another user's by now.
    assert roles.change([change("unassign", "oidc:readers", user=user)]) == []
    assert roles.change([change("assign", "oidc:readers", "b", user=user)]) == []
    assert roles.of_user(PREFIX, user) == []
    databases.execute(url, "DELETE FROM user_role_assignments; DELETE FROM users WHERE username = 'a'")


@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_patterns_that_are_one_the_second_is_left_out_and_changes_nothing(
    roles: Roles, url: str, at_once: bool
) -> None:
    create = change("create", "oidc:r", "ours")
    first = change("grant", "oidc:r", "registered_model", "Model", "EDIT")
    second = change("grant", "oidc:r", "registered_model", "model", "READ")
    if at_once:
        undone = roles.change([create, first, second])
    else:
        assert roles.change([create, first]) == []
        undone = roles.change([second])
    ((index, why),) = undone
    assert index == (2 if at_once else 0)
    assert "'Model'" in str(why)
    assert grants(url) == [("Model", "EDIT")]
    assert roles.change([change("revoke", "oidc:r", "registered_model", "model", "READ")]) == []
    assert grants(url) == [("Model", "EDIT")]
    assert roles.change([change("revoke", "oidc:r", "registered_model", "Model", "EDIT"), second]) == []
    assert grants(url) == [("model", "READ")]


@pytest.mark.parametrize("mode", ["STRICT_TRANS_TABLES", ""])
def test_a_name_that_the_character_set_does_not_have_costs_that_grant_alone(url: str, mode: str) -> None:
    column = "ALTER TABLE role_permissions MODIFY resource_pattern VARCHAR(255) CHARACTER SET {} NOT NULL"
    databases.execute(url, column.format("latin1"))
    try:
        engine = sqlalchemy.create_engine(url, connect_args={"init_command": f"SET sql_mode = '{mode}'"})
        roles = Roles(Database(engine))
        role = f"oidc:latin-{mode or 'lax'}"
        wanted = [
            change("create", role, "ours"),
            change("grant", role, "registered_model", "研究", "READ"),
            change("grant", role, "registered_model", "modèle", "READ"),
        ]
        ((index, why),) = roles.change(wanted)
        assert index == 1
        assert "the database" in str(why)
        ((_, _, _, given),) = [kept for kept in roles.kept(PREFIX) if kept[1] == role]
        assert given == [("registered_model", "modèle", "READ")]
        engine.dispose()
    finally:
        databases.execute(url, "DELETE FROM role_permissions")
        databases.execute(url, column.format("utf8mb4"))
