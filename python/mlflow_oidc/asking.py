"""How MLflow's database is asked: what is tried again, what counts as no answer, and what the event loop may
do.

Everything goes through the SQLAlchemy engine that MLflow itself opened: its drivers, its TLS, its pool.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import sqlalchemy
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

T = TypeVar("T")

# Seconds in which somebody else's lock, or a conflict with another writer, is tried again.
_PATIENCE = 15.0
_PAUSE = 0.02
# Seconds that the event loop waits for an answer. One over a socket takes 0.2 to 2 ms.
_ON_THE_LOOP = 0.05
# Seconds after which a connection that nobody used is made anew: a firewall may have forgotten it, those of
# the clouds after 240 and more.
_IDLE = 200.0
# Seconds after which a thread without an answer is given up, when others have had answers meanwhile.
_STUCK = 5.0

# The loser of a race with another writer may try again: a deadlock, a lock that was not to be had, a snapshot
# that is too old. By SQLSTATE, and by the numbers of MySQL and MariaDB.
_CONFLICTS: tuple[Any, ...] = ("40001", "40P01", "55P03", 1020, 1205, 1213)

_NOTHING = sqlalchemy.select(sqlalchemy.literal(1))

# Of a parent process: they must neither be used nor be closed in its child, whose end would end them there.
_abandoned: list[Any] = []
_all: list["Database"] = []


class Unanswered(Exception):
    """The database could not be asked. ``for_the_log`` has no word of the driver's: it may repeat the
    address.
    """

    def __init__(self, for_the_log: str) -> None:
        """Takes what may be logged."""
        super().__init__(for_the_log)
        self.for_the_log = for_the_log


class Database:
    """One engine. Threads that may wait call ``run``, the event loop calls ``now``.

    Both raise ``TimeoutError`` where somebody else is in the way and the caller may come again,
    ``IntegrityError`` as it is, and ``Unanswered`` for the rest.
    """

    def __init__(self, engine: Any) -> None:
        """Takes an SQLAlchemy engine; asks nothing yet."""
        self.engine = engine
        self._line: _Line | None = None
        self._lock = threading.Lock()
        # After a question without an answer in time the event loop waits for none until somebody has had one.
        self._silent = False
        _all.append(self)

    def run(self, work: Callable[[Any], T], after_loss: Callable[[Any], T] | None = None) -> T:
        """Does work in one transaction, with a connection as its argument.

        It is done again after a conflict, of which nothing was kept, and once after the connection was lost,
        perhaps while it was being committed: then ``after_loss`` is done instead, where there is one.
        """
        deadline = time.monotonic() + _PATIENCE
        lost = False
        while True:
            try:
                with self.engine.begin() as connection:
                    done = (after_loss if lost and after_loss else work)(connection)
            except IntegrityError:
                raise
            except NoConnection:
                raise TimeoutError("no connection is free in MLflow's pool") from None
            except DBAPIError as error:
                if error.connection_invalidated and not lost:
                    # The pool kept it since before the database was started anew; the next one is made now.
                    lost = True
                    continue
                if not is_conflict(error):
                    raise Unanswered(told(error)) from None
                if time.monotonic() >= deadline:
                    raise TimeoutError("another writer has the lock") from None
                time.sleep(_PAUSE)
            except SQLAlchemyError as error:
                raise Unanswered(type(error).__name__) from None
            else:
                self._answered()
                return done

    def now(self, work: Callable[[Any], T]) -> T:
        """Does a read, which sees committed rows only, for somebody who may hardly wait.

        A thread of ours asks. While it has no answer, whoever comes next is told so at once: a database that
        is gone costs the event loop the time once and not with every request.
        """
        question = _Question(work)
        with self._lock:
            waits = not self._silent
            line = self._line
            if line is None:
                line = self._line = _Line(self)
            if waits or line.open == 0:
                # Without waiting it is still asked: somebody has to find out that there are answers again.
                line.put(question)
        if waits and question.done.wait(_ON_THE_LOOP):
            return question.outcome()
        with self._lock:
            if waits and question.done.is_set():
                return question.outcome()
            self._silent = True
        raise TimeoutError("the database did not answer in time")

    def answers(self) -> bool:
        """Whether it answers at once."""
        try:
            self.now(lambda connection: connection.execute(_NOTHING).first())
        except (TimeoutError, Unanswered):
            return False
        return True

    def _answered(self) -> None:
        """An ordinary thread has had an answer."""
        if not self._silent:
            return
        with self._lock:
            self._silent = False
            if self._line is not None and self._line.is_stuck():
                # Its connection leads nowhere any more, and the system may take a quarter of an hour to say
                # so.
                self._line.given_up = True
                self._line = None

    def ended(self, line: "_Line", question: "_Question[Any]") -> None:
        """The thread has done with a question."""
        with self._lock:
            line.open -= 1
            if question.error is None and not line.given_up:
                self._silent = False
            question.done.set()

    def abandon(self) -> None:
        """In the child of a fork: the thread is not there, its connection and those of the pool are the
        parent's.
        """
        if self._line is not None:
            _abandoned.append(self._line)
        self._line, self._silent, self._lock = None, False, threading.Lock()
        if self.engine.dialect.name != "sqlite":
            _abandoned.append(self.engine.pool)
            self.engine.dispose(close=False)


class _Question(Generic[T]):
    """Work, and what became of it."""

    result: T

    def __init__(self, work: Callable[[Any], T]) -> None:
        self.work = work
        self.done = threading.Event()
        self.error: Exception | None = None

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result


class _Line:
    """A thread with a connection of its own, taken out of MLflow's pool: one message there and one back."""

    def __init__(self, database: Database) -> None:
        self.open = 0
        self.given_up = False
        self._database = database
        self._queue: queue.SimpleQueue[_Question[Any]] = queue.SimpleQueue()
        self._connection: Any = None
        self._used_at = self._asked_at = time.monotonic()
        threading.Thread(target=self._serve, name="mlflow-oidc-database", daemon=True).start()

    def put(self, question: _Question[Any]) -> None:
        if self.open == 0:
            self._asked_at = time.monotonic()
        self.open += 1
        self._queue.put(question)

    def is_stuck(self) -> bool:
        return self.open > 0 and time.monotonic() > self._asked_at + _STUCK

    def _serve(self) -> None:
        while not self.given_up:
            question = self._queue.get()
            try:
                question.result = self._answer(question.work)
            except SQLAlchemyError as error:
                question.error = Unanswered(told(error))
            except Exception as error:
                question.error = error
            self._database.ended(self, question)
        self._close()

    def _answer(self, work: Callable[[Any], Any]) -> Any:
        if time.monotonic() > self._used_at + _IDLE:
            self._close()
        kept = self._connection is not None
        try:
            return self._ask(work)
        except SQLAlchemyError:
            self._close()
            if not kept:
                raise
        # It may have been dead since the last question.
        return self._ask(work)

    def _ask(self, work: Callable[[Any], Any]) -> Any:
        if self._connection is None:
            connection = self._database.engine.connect()
            # No transaction, so that the next question sees what was committed meanwhile.
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()
            self._connection = connection
        result = work(self._connection)
        self._used_at = time.monotonic()
        return result

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.invalidate()
                connection.close()


def told(error: Exception) -> str:
    """The kind of a database's error and its code: what it says may repeat an address with its password."""
    kind = type(getattr(error, "orig", None) or error).__name__
    codes = _codes(error)
    return f"{kind} ({codes[0]})" if codes else kind


def _codes(error: Exception) -> list[Any]:
    """The driver's own number and the SQLSTATE, where there are any."""
    original = getattr(error, "orig", None)
    first = next(iter(getattr(original, "args", ())), None)
    # A number of MySQL's, or an SQLSTATE of ODBC's: five letters and no blank.
    is_code = isinstance(first, int) or (isinstance(first, str) and len(first) == 5 and first.isalnum())
    states = (getattr(original, name, None) for name in ("sqlstate", "pgcode"))
    return [*([first] if is_code else []), *(state for state in states if isinstance(state, str))]


def is_conflict(error: DBAPIError) -> bool:
    """Whether somebody else was in the way, and the transaction may be tried again."""
    return any(code in _CONFLICTS for code in _codes(error)) or "database is locked" in str(error.orig)


def _after_fork() -> None:
    for database in _all:
        database.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
