"""How a database is asked: conflicts, lost connections, no answer in time. With real servers."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy

from mlflow_oidc import asking
from mlflow_oidc.asking import Database, Unanswered
from support import databases
from support.databases import DatabaseServer
from support.stores import at_once

# A socket that PyMySQL could not connect is left to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KINDS = list(databases.KINDS)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return databases.running(request.param)


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[Database]:
    engine = sqlalchemy.create_engine(server.fresh(), pool_pre_ping=True)
    yield Database(engine)
    engine.dispose()


def one(connection: Any) -> int:
    return int(connection.execute(sqlalchemy.text("SELECT 1")).scalar())


def statement(text: str) -> Any:
    return lambda connection: connection.execute(sqlalchemy.text(text))


def asker() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mlflow-oidc-database"]


def test_two_who_lock_each_others_rows_both_get_their_way(database: Database) -> None:
    database.run(statement("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)"))
    database.run(statement("INSERT INTO t VALUES (1, 0), (2, 0)"))
    barrier = threading.Barrier(2)
    tries = []

    def crosswise(first: int, second: int) -> None:
        def work(connection: Any) -> None:
            tries.append(first)
            connection.execute(sqlalchemy.text(f"UPDATE t SET n = n + 1 WHERE id = {first}"))
            if tries.count(first) == 1:
                barrier.wait(10)
            connection.execute(sqlalchemy.text(f"UPDATE t SET n = n + 1 WHERE id = {second}"))

        database.run(work)

    threads = [threading.Thread(target=crosswise, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tries) == 3, "one of them was the victim of the deadlock and came again"
    found = database.run(lambda connection: [n for (n,) in statement("SELECT n FROM t")(connection)])
    assert found == [2, 2]


def test_a_connection_that_is_cut_in_the_middle_is_made_anew_once(
    server: DatabaseServer, database: Database
) -> None:
    tries = []

    def work(connection: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            own = {"postgresql": "pg_backend_pid()", "mariadb": "CONNECTION_ID()"}[server.kind]
            number = connection.execute(sqlalchemy.text(f"SELECT {own}")).scalar()
            end = {"postgresql": f"SELECT pg_terminate_backend({number})", "mariadb": f"KILL {number}"}
            with database.engine.connect() as other:
                other.execute(sqlalchemy.text(end[server.kind]))
        return one(connection)

    assert database.run(work) == 1
    assert len(tries) == 2


def test_a_database_that_is_not_there_is_told_without_its_password(
    server: DatabaseServer, database: Database
) -> None:
    assert at_once(lambda _: database.now(one)) == 1
    with server.stopped():
        with pytest.raises(Unanswered) as told:
            database.run(one)
        assert databases.PASSWORD not in f"{told.value} {told.value.for_the_log}"
        assert told.value.for_the_log.startswith("OperationalError")
        with pytest.raises((Unanswered, TimeoutError)) as refused:
            database.now(one)
        assert databases.PASSWORD not in str(refused.value)
    assert database.run(one) == 1
    assert at_once(lambda _: database.now(one)) == 1


def test_whoever_may_not_wait_waits_once_for_a_database_that_hangs(
    server: DatabaseServer, database: Database
) -> None:
    assert at_once(lambda _: database.now(one)) == 1
    with server.frozen():
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(TimeoutError):
                database.now(one)
        # Each wait is 50 ms: a thousand of them would be 50 seconds.
        assert time.monotonic() - began < 5
        assert len(asker()) >= 1
    # The late answer of the first question, or the answer of a thread that may wait, ends it.
    assert at_once(lambda _: database.now(one)) == 1


def test_questions_that_fail_do_not_let_the_event_loop_wait_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that answers nothing but errors, each after a while: one wait, not one for each error."""
    monkeypatch.setattr(asking, "_ON_THE_LOOP", 0.5)

    def fails_slowly(connection: Any) -> None:
        time.sleep(0.6)
        statement("SELECT nonsense")(connection)

    with pytest.raises(TimeoutError):
        database.now(fails_slowly)
    for _ in range(8):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            database.now(fails_slowly)
        assert time.monotonic() - began < 0.4, "it was waited for again"
        time.sleep(0.2)
    assert database.run(one) == 1
    assert at_once(lambda _: database.now(one)) == 1


def test_a_thread_whose_connection_leads_nowhere_is_given_up_when_others_have_answers(
    server: DatabaseServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_STUCK", 0.2)
    assert at_once(lambda _: database.now(one)) == 1
    nowhere = threading.Event()
    with pytest.raises(TimeoutError):
        database.now(lambda _: nowhere.wait(60))
    time.sleep(0.3)
    with pytest.raises(TimeoutError):
        database.now(one)
    assert database.run(one) == 1
    assert at_once(lambda _: database.now(one)) == 1, "by another thread, on another connection"
    nowhere.set()


def test_what_was_committed_meanwhile_is_seen(database: Database) -> None:
    """MySQL's connections see by default what was there when their transaction began."""
    database.run(statement("CREATE TABLE t (n INTEGER)"))

    def count(connection: Any) -> int:
        return int(connection.execute(sqlalchemy.text("SELECT COUNT(*) FROM t")).scalar())

    for number in range(3):
        assert at_once(lambda _: database.now(count)) == number
        database.run(statement("INSERT INTO t VALUES (1)"))


def test_a_child_of_a_fork_has_connections_of_its_own(database: Database) -> None:
    """Two processes on one connection read each other's answers, and the end of one ends it for both."""
    assert at_once(lambda _: database.now(one)) == 1
    assert database.run(one) == 1

    def in_the_child(answers: Any) -> None:
        answers.put([at_once(lambda _: database.now(one)), database.run(one)])

    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    for _ in range(3):
        child = context.Process(target=in_the_child, args=(answers,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert answers.get() == [1, 1]
        assert database.now(one) == 1, "the connection is still ours"
        assert database.run(one) == 1
