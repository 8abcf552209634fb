"""`mlflow-oidc users` on the databases that are no file: the same words, with a server running."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from support import databases, wire
from support.browser import Browser
from support.people import Command
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for, write_ini

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module", autouse=True)
def ending() -> Iterator[None]:
    yield
    databases.end()


@pytest.fixture(scope="module")
def database_uri() -> str:
    """PostgreSQL. On MariaDB MLflow's own migration fails (errno 121, two keys named `fk_user_id`)."""
    return databases.running("postgresql").fresh()


@pytest.fixture(scope="module")
def server(make_module_server: MakeServer, provider: Provider, database_uri: str) -> MlflowServer:
    settings = settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="1")
    return make_module_server(
        "3.17.2",
        provider.issuer,
        settings=settings,
        database_uri=database_uri,
        secrets=(databases.PASSWORD,),
        fresh=True,
    )


@pytest.fixture(scope="module")
def rows(database_uri: str) -> Iterator[Callable[[str], list[Any]]]:
    """All rows of a table, from outside."""
    engine = sqlalchemy.create_engine(database_uri)

    def read(table: str) -> list[Any]:
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text(f"SELECT * FROM {table}"))
            return sorted((tuple(row) for row in found), key=repr)

    yield read
    engine.dispose()


def test_an_administrators_day(
    server: MlflowServer, provider: Provider, rows: Callable[[str], list[Any]]
) -> None:
    users = Command(server)
    ada, bob, carol, dora = (f"{name}-{uuid.uuid4().hex[:12]}" for name in ("ada", "bob", "carol", "dora"))
    assert users.nothing("list")
    local = {"username": "carol", "password": "a-password-of-its-own-123"}
    server.admin("POST", "/api/2.0/mlflow/users/create", json=local)
    users.said("link", "carol", "--subject", carol)
    users.said("link", "dora", "--subject", dora, "--make")
    refused = users.said("link", "carol", "--subject", dora, status=1)
    assert "is bound to 'dora'" in refused

    browsers = {}
    for subject in (ada, bob, carol, dora):
        provider.put_user(subject, groups=["MLFLOW", f"team-{subject}"])
        browsers[subject] = Browser(server)
        browsers[subject].login(provider, subject)
    names = {subject: browser.signed_in()["username"] for subject, browser in browsers.items()}
    assert (names[carol], names[dora]) == ("carol", "dora")
    role = {"name": "a-role", "workspace": "default"}
    number = server.admin("POST", "/api/3.0/mlflow/roles/create", json=role)["role"]["id"]
    server.admin("POST", "/api/3.0/mlflow/roles/assign", json={"username": "carol", "role_id": number})
    before = {table: rows(table) for table in ("users", "roles", "user_role_assignments")}

    listed = {row["username"]: row for row in users.json("list", "--all")}
    assert set(listed) == {*names.values(), ADMIN[0]}
    accounts = {subject: listed[names[subject]]["account"] for subject in browsers}
    assert accounts == {ada: "made here", bob: "made here", carol: "linked", dora: "made here"}
    assert {listed[name]["sessions"] for name in names.values()} == {1}
    assert [row["subject"] for row in users.json("list", "--group", f"team-{bob}")] == [bob]
    assert [role["name"] for role in users.json("show", carol, "--subject")["roles"]] == ["a-role"]
    assert len(users.json("sessions")) == 4

    (handle,) = [session["handle"] for session in users.json("sessions", names[bob])]
    users.said("sign-out", "--session", handle)
    users.said("sign-out", names[ada])
    users.said("unlink", "carol", "--yes")
    time.sleep(1.2)
    living = {subject for subject, browser in browsers.items() if browser.session() is not None}
    assert living == {dora}
    assert {table: rows(table) for table in before} == before, "what is MLflow's stays as it was"
    answer = server.call("GET", EXPERIMENTS, token=provider.bearer(carol, email="carol"))
    wire.refusal(answer, 403, "username_taken")
    users.said("link", "dora", "--subject", bob, "--replace", status=1)
    users.said("unlink", names[bob], "--yes")
    users.said("link", "dora", "--subject", bob, "--replace")
    time.sleep(1.2)
    assert browsers[dora].session() is None
    assert "1 session has ended" not in users.said("sign-out", "--all", status=1)


def test_a_database_that_does_not_answer_is_told_without_its_password(server: MlflowServer) -> None:
    users = Command(server)
    address = server.folder / "basic_auth.ini"
    other = server.folder / "other.ini"
    other.write_text(address.read_text().replace("test_", "no_such_database_"))
    said = users.said("list", status=1, MLFLOW_AUTH_CONFIG_PATH=str(other))
    assert "the database gave no answer" in said
    assert "no_such_database_" in said


def test_the_command_alone_on_mariadb(tmp_path: Path) -> None:
    """With MLflow's table of users as its migration would make it; names are compared byte for byte by us."""
    address = databases.running("mariadb").fresh()
    place = MlflowServer(
        "3.17.2",
        tmp_path,
        settings=settings_for("https://issuer.example"),
        database_uri=address,
        secrets=(databases.PASSWORD,),
    )
    write_ini(tmp_path, database_uri=address)
    users = Command(place)
    engine = sqlalchemy.create_engine(address)
    try:
        assert "no table 'users'" in users.said("list", status=1)
        _ask(
            engine,
            "CREATE TABLE users (id INTEGER AUTO_INCREMENT PRIMARY KEY, username VARCHAR(255) UNIQUE,"
            " password_hash VARCHAR(255), is_admin BOOLEAN)",
            "INSERT INTO users VALUES (1, 'Carol', 'scrypt:', 0)",
        )
        assert users.nothing("list")
        assert users.person("Carol")["account"] == "local"
        # MLflow gives it to the driver, which reads it even for a socket.
        absent = str(tmp_path / "absent.pem")
        assert "No such file" in users.said("list", status=1, MLFLOW_MYSQL_SSL_CA=absent)
        assert "no MLflow user 'carol'" in users.said("link", "carol", "--subject", "1", status=1)
        alike = users.said("link", "carol", "--subject", "1", "--make", status=1)
        assert "one whose name the database takes for it" in alike
        users.said("link", "Carol", "--subject", "ÄÖ")
        users.said("link", "dora", "--subject", "äö", "--make")
        assert users.person("dora")["subject"] == "äö"
        assert users.json("show", "ÄÖ", "--subject")["username"] == "Carol"
        ends = int(time.time()) + 600
        _ask(
            engine,
            *(
                "INSERT INTO oidc_sessions (id_hash, issuer, subject, created_at, expires_at) VALUES"
                f" (UNHEX('{'ab' * 31}{number:02}'), 'https://issuer.example', '{subject}', 1, {ends})"
                for number, subject in enumerate(("ÄÖ", "ÄÖ", "äö"))
            ),
        )
        assert [row["username"] for row in users.json("sessions")] == ["Carol", "Carol", "dora"]
        assert "several sessions" in users.said("sign-out", "--session", "ababab", status=1)
        assert "Ended the session" in users.said("sign-out", "--session", "ab" * 31 + "01")
        assert "1 session has ended" in users.said("sign-out", "Carol")
        users.said("unlink", "dora", "--yes")
        assert users.nothing("sessions")
        assert [row["username"] for row in users.json("list")] == ["Carol"]
        assert users.person("dora")["account"] == "without identity"
    finally:
        engine.dispose()


def _ask(engine: sqlalchemy.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))
