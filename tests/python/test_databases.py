"""Real servers on PostgreSQL and on MariaDB: the same people, the same answers, and a database that goes
away.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import databases
from support.browser import Browser
from support.databases import DatabaseServer
from support.probes import ARTIFACT
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for
from test_backchannel import PATH, logout_token

Person = Callable[..., str]

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
CELLS = [("postgresql", "3.17.2"), ("mariadb", "3.17.2"), ("postgresql", "2.22.5")]


@dataclass
class Served:
    """A server of two workers and its database."""

    kind: str
    url: str
    server: MlflowServer

    @property
    def database(self) -> DatabaseServer:
        return databases.running(self.kind)

    def user(self, username: str) -> list[tuple[object, ...]]:
        query = "SELECT username, is_admin FROM users WHERE username = :username"
        return databases.rows(self.url, query, username=username)


@pytest.fixture(scope="module", params=CELLS, ids=[f"{kind}-mlflow{version}" for kind, version in CELLS])
def served(
    request: pytest.FixtureRequest,
    ending: Callable[[], contextlib.AbstractContextManager[MakeServer]],
    provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    kind, version = request.param
    url = databases.prepared(kind, version, tmp_path_factory.mktemp("home"))
    settings = settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="1")
    with ending() as make:
        server = make(
            version,
            provider.issuer,
            settings=settings,
            workers=2,
            database_uri=url,
            secrets=(databases.PASSWORD,),
        )
        yield Served(kind, url, server)


def bearer(provider: Provider, subject: str, *groups: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.bearer(subject, groups=groups or ('MLFLOW',))}"}


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"}


BY_PASSWORD = basic(*ADMIN)


def test_a_login_counts_on_both_workers(served: Served, provider: Provider, person: Person) -> None:
    server, alice = served.server, person("alice")
    browser = Browser(server)
    browser.login(provider, alice)
    for worker in range(2):
        with server.only_worker(worker):
            assert browser.signed_in()["username"] == f"{alice}@example.org"
            assert browser.xhr("GET", SEARCH).status_code == 200
    ((name, is_admin),) = served.user(f"{alice}@example.org")
    assert (name, bool(is_admin)) == (f"{alice}@example.org", False)
    assert browser.logout().status_code == 303
    time.sleep(server.session_cache_seconds)
    for worker in range(2):
        with server.only_worker(worker):
            assert browser.xhr("GET", SEARCH).status_code == 401


def test_a_bearer_is_let_in_and_its_groups_count(served: Served, provider: Provider, person: Person) -> None:
    boss, stranger = person("boss"), person("stranger")
    as_admin = bearer(provider, boss, "MLFLOW", "MLFLOW_admin")
    assert served.server.call("GET", SEARCH, headers=as_admin).status_code == 200
    ((_, is_admin),) = served.user(f"{boss}@example.org")
    assert bool(is_admin)
    refused = served.server.call("GET", SEARCH, headers=bearer(provider, stranger, "OTHER"))
    assert (refused.status_code, refused.json()["code"]) == (403, "group_required")
    assert served.user(f"{stranger}@example.org") == []
    assert served.server.admin("GET", SEARCH)["experiments"]


def test_a_route_of_the_event_loop_knows_people_by_bearer_and_by_session(
    served: Served, provider: Provider, person: Person
) -> None:
    server = served.server
    if not server.modern:
        pytest.skip("no route of this MLflow is on an event loop")
    alice = person("alice")
    # Never seen: the clerk makes the user, and the client comes again.
    first = server.call_native("GET", ARTIFACT, headers=bearer(provider, alice))
    assert first.status_code == 404, first.text
    browser = Browser(server)
    browser.login(provider, alice)
    cookie = {"Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies[browser.origin].items())}
    for _ in range(3):
        time.sleep(server.session_cache_seconds)
        assert server.call_native("GET", ARTIFACT, headers=cookie).status_code == 404
    assert server.call("GET", ARTIFACT).status_code == 401


def test_the_provider_ends_a_session_on_both_workers(
    served: Served, provider: Provider, person: Person
) -> None:
    server, alice, bob = served.server, person("alice"), person("bob")
    browsers = {subject: Browser(server) for subject in (alice, bob)}
    for subject, browser in browsers.items():
        browser.login(provider, subject)
    answer = server.call("POST", PATH, data={"logout_token": logout_token(provider, alice)})
    assert answer.status_code == 200, answer.text
    time.sleep(server.session_cache_seconds)
    for worker in range(2):
        with server.only_worker(worker):
            assert browsers[alice].session() is None
            assert browsers[bob].session() is not None


def test_without_its_database_it_says_503_to_everybody_and_heals_by_itself(
    served: Served, provider: Provider, person: Person
) -> None:
    server, alice = served.server, person("alice")
    browser = Browser(server)
    browser.login(provider, alice)
    token, fresh = bearer(provider, alice), bearer(provider, person("fresh"))
    assert server.call("GET", SEARCH, headers=token).status_code == 200
    cookie = {"Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies[browser.origin].items())}
    asked = [(SEARCH, token), (SEARCH, cookie), (SEARCH, fresh)]
    if server.modern:
        asked += [(ARTIFACT, token), (ARTIFACT, cookie), (ARTIFACT, fresh)]
        assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404
    with served.database.stopped():
        time.sleep(server.session_cache_seconds + 0.2)
        for path, headers in asked * 3:
            answer = server.call("GET", path, headers=headers)
            assert answer.status_code == 503, f"{path} {headers}: {answer.status_code} {answer.text}"
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["code"] in ("database_unavailable", "provider_pending"), answer.text
    for path, headers in asked:
        # The first one after the start may meet a thread that has not had an answer yet.
        answer = server.call_native("GET", path, headers=headers)
        assert answer.status_code in (200, 404), answer.text


def test_a_database_that_was_started_anew_costs_nobody_an_answer(
    served: Served, provider: Provider, person: Person
) -> None:
    server, alice = served.server, person("alice")
    browser = Browser(server)
    browser.login(provider, alice)
    token = bearer(provider, alice)
    for _ in range(8):
        assert server.call("GET", SEARCH, headers=token).status_code == 200
        browser.signed_in()
    with served.database.stopped():
        pass
    time.sleep(server.session_cache_seconds + 0.2)
    for _ in range(8):
        assert server.call("GET", SEARCH, headers=token).status_code == 200
        assert browser.signed_in()["username"] == f"{alice}@example.org"


def test_a_database_that_hangs_holds_nobody_else_on_the_event_loop(
    served: Served, provider: Provider, person: Person
) -> None:
    server, alice = served.server, person("alice")
    if not server.modern:
        pytest.skip("no route of this MLflow is on an event loop")
    token = bearer(provider, alice)
    for worker in range(2):
        with server.only_worker(worker):
            assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404
    time.sleep(server.session_cache_seconds + 0.2)
    with served.database.frozen():
        took = []
        for _ in range(20):
            began = time.monotonic()
            answer = server.call("GET", ARTIFACT, headers=token)
            took.append(time.monotonic() - began)
            assert answer.status_code == 503, answer.text
            assert server.call("GET", "/health").status_code == 200
        # One wait of 50 ms in each worker; the alternative is the driver's, which is for ever.
        assert max(took) < 0.5, took
    assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404


def test_a_name_that_mysql_takes_for_anothers_gives_nobody_that_account(
    served: Served, provider: Provider, person: Person
) -> None:
    """On MariaDB with the collation that it has by default, as an MLflow that made its own column would have
    it.
    """
    if served.kind != "mariadb":
        pytest.skip("PostgreSQL compares names as they are")
    server, alice, carol = served.server, person("alice"), person("carol")
    databases.execute(
        served.url, "ALTER TABLE users MODIFY username VARCHAR(255) COLLATE utf8mb4_general_ci;"
    )
    local = {"username": f"{alice}@example.org".upper(), "password": "a-password-0123456789"}
    server.admin("POST", "/api/2.0/mlflow/users/create", json=local)
    assert len(served.user(f"{alice}@example.org")) == 1, "the two names are one to the database"
    for groups in (("MLFLOW",), ("MLFLOW", "MLFLOW_admin")):
        for _ in range(2):
            answer = server.call("GET", SEARCH, headers=bearer(provider, alice, *groups))
            assert (answer.status_code, answer.json()["code"]) == (403, "username_taken"), answer.text
    assert [bool(flag) for _, flag in served.user(local["username"])] == [False]
    assert server.call("GET", SEARCH, auth=(local["username"], local["password"])).status_code == 200
    # And the other way round: the password of an account that a login made.
    assert server.call("GET", SEARCH, headers=bearer(provider, carol)).status_code == 200
    change = {"username": f"{carol}@example.org", "password": "another-password-0123456789"}
    answer = server.call("PATCH", "/api/2.0/mlflow/users/update-password", auth=ADMIN, json=change)
    assert answer.status_code == 200, answer.text
    for name in (change["username"], change["username"].upper()):
        answer = server.call("GET", SEARCH, auth=(name, change["password"]))
        assert (answer.status_code, answer.json()["code"]) == (401, "account_without_password"), answer.text


def on_postgresql(make: MakeServer, provider: Provider, folder: Path, **more: str) -> MlflowServer:
    """One that nobody has asked anything yet."""
    return make(
        "3.17.2",
        provider.issuer,
        settings=settings_for(provider.issuer, **more),
        database_uri=databases.prepared("postgresql", "3.17.2", folder),
        secrets=(databases.PASSWORD,),
    )


def test_whoever_is_remembered_is_not_called_unknown_on_a_route_of_the_event_loop(
    make_server: MakeServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    """MLflow looks for the user there, waits without a limit, and answers 401 where that fails."""
    server = on_postgresql(make_server, provider, tmp_path, OIDC_SESSION_CACHE_SECONDS="300")
    token = bearer(provider, person("alice"))
    for _ in range(2):
        assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404
    database = databases.running("postgresql")
    for away in (database.stopped, database.frozen):
        with away():
            for _ in range(5):
                began = time.monotonic()
                answer = server.call("GET", ARTIFACT, headers=token)
                assert time.monotonic() - began < 0.5
                assert answer.status_code == 503, answer.text
                assert answer.headers["Retry-After"] == "1"
                assert answer.json()["code"] == "database_unavailable"
        assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404


def test_a_password_that_cannot_be_checked_is_503_and_holds_nobody_else(served: Served) -> None:
    server = served.server
    # Each another one: MLflow remembers those that were right.
    passwords = (basic(ADMIN[0], f"wrong-{number}") for number in itertools.count())
    for worker in range(2):
        with server.only_worker(worker):
            assert server.call("GET", SEARCH, headers=next(passwords)).status_code == 401
            if server.modern:
                assert server.call("GET", ARTIFACT, headers=next(passwords)).status_code == 401
    if server.modern:
        with served.database.frozen():
            for _ in range(6):
                began = time.monotonic()
                answer = server.call("GET", ARTIFACT, headers=next(passwords))
                assert time.monotonic() - began < 0.5
                assert answer.status_code == 503, answer.text
    # MLflow writes them itself, wherever it asks.
    server.excused |= {
        "sqlalchemy.exc.OperationalError: (",
        "sqlalchemy.exc.InvalidatePoolError: ",
        "psycopg2.OperationalError: ",
        "pymysql.err.OperationalError: ",
        "FileNotFoundError: ",
    }
    with served.database.stopped():
        for path in (SEARCH, ARTIFACT) if server.modern else (SEARCH,):
            for _ in range(4):
                answer = server.call("GET", path, headers=next(passwords))
                told = (answer.status_code, answer.json()["code"], answer.headers["Retry-After"])
                assert told == (503, "database_unavailable", "1"), answer.text
    assert server.call("GET", SEARCH, headers=next(passwords)).status_code == 401
    assert server.admin("GET", SEARCH)["experiments"]
    assert "a fault in mlflow-oidc" not in server.log_text()


def test_a_user_name_that_no_database_can_hold_is_unknown_and_no_fault(served: Served) -> None:
    server = served.server
    for path in (SEARCH, ARTIFACT) if server.modern else (SEARCH,):
        for name in ("a\0b", "\0", "admin\0"):
            answer = server.call("GET", path, headers=basic(name, ADMIN[1]))
            assert answer.status_code == 401, answer.text
            assert answer.headers["WWW-Authenticate"].startswith("Basic")


LATE = 1.5


def test_a_new_user_is_let_in_when_the_replica_that_mlflow_reads_has_them(
    make_server: MakeServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    primary = databases.running("postgresql")
    url = databases.prepared("postgresql", "3.17.2", tmp_path)
    assert isinstance(primary, databases.PostgreSQL)
    replica = databases.Replica(primary, LATE)
    try:
        replica.start()
        server = make_server(
            "3.17.2",
            provider.issuer,
            settings=settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="0"),
            database_uri=url,
            replica=replica.url_of(url),
            secrets=(databases.PASSWORD,),
        )
        began = time.monotonic()
        answer = server.call("GET", SEARCH, headers=bearer(provider, person("alice")))
        assert answer.status_code == 200, answer.text
        assert time.monotonic() - began > LATE * 0.8, "the replica was not late: nothing is proved"
        # On the event loop the clerk waits, and the client comes again.
        answer = server.call_native("GET", ARTIFACT, headers=bearer(provider, person("bob")))
        assert answer.status_code == 404, answer.text
        # A session is read where it is written, at once and until it ends.
        browser, carol = Browser(server), person("carol")
        browser.login(provider, carol)
        assert browser.signed_in()["username"] == f"{carol}@example.org"
        browser.logout()
        assert browser.session() is None
        # MLflow asks the replica who somebody is: without it nobody can be told, which is not "unknown".
        token = bearer(provider, person("dora"))
        assert server.call("GET", SEARCH, headers=token).status_code == 200
        assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404
        replica.stop()
        for headers in (token, BY_PASSWORD):
            answer = server.call("GET", ARTIFACT, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), answer.text
    finally:
        replica.remove()


def test_a_worker_whose_first_request_meets_no_database_says_503_and_heals(
    make_server: MakeServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    server = on_postgresql(make_server, provider, tmp_path)
    token = bearer(provider, person("alice"))
    with databases.running("postgresql").stopped():
        for method, path in (("GET", SEARCH), ("POST", "/v1/traces")):
            answer = server.call(method, path, headers=token)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), answer.text
            assert answer.headers["Retry-After"] == "1"
    assert server.call("GET", SEARCH, headers=token).status_code == 200


def test_a_worker_whose_first_request_meets_a_database_that_hangs_holds_its_event_loop_once(
    make_server: MakeServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    server = on_postgresql(make_server, provider, tmp_path)
    token = bearer(provider, person("alice"))
    with databases.running("postgresql").frozen():
        took = []
        for _ in range(5):
            began = time.monotonic()
            answer = server.call("POST", "/v1/traces", headers=token)
            took.append(time.monotonic() - began)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), answer.text
            assert answer.headers["Retry-After"] == "1"
            assert server.call("GET", "/health").status_code == 200
        # A second for the first one, whose engine may yet be made; the driver would wait for ever.
        assert took[0] < 2, took
        assert max(took[1:]) < 0.5, took
    assert server.call_native("GET", ARTIFACT, headers=token).status_code == 404
