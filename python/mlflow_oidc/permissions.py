"""Remembers what MLflow's own look-ups of users and grants have answered, until its database changes.

MLflow asks its auth store the same questions several times in one request, and again in the next one; each
costs it 0.3 to 0.5 ms of SQLAlchemy. What MLflow decides is not touched: only methods that read are wrapped
(``look_ups``), on the one store object, and each answer is what the method itself gave.

An answer is never older than the database. ``PRAGMA data_version``, asked on a connection of our own, changes
when any other connection of any process has committed. It is asked before every answer, and an answer is kept
under the version that was asked for before its rows were read:

- A commit between the version and the rows: the rows are newer than the version says, and are dropped at the
  next question.
- A commit between the rows and their being kept: they are kept among the answers of the old version, where
  nobody looks any more.
- A commit between the version and the remembered answer: the question was there before the commit, and
  MLflow's own method, called at that moment, would have read the same.
- Another connection is just committing: the file is locked. Nothing is waited for and nothing remembered is
  used. MLflow's own method is asked, which waits as it always does.

Seconds bound it as well, for whatever changes a file behind SQLite's back.
"""

import contextlib
import copy
import functools
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

from mlflow_oidc import look_ups
from mlflow_oidc.read_only import ReadOnly, plain_file
from mlflow_oidc.runs import ExperimentsOfRuns

logger = logging.getLogger("mlflow.oidc")

# How many things (users, grants, exceptions) may be remembered in all, in one process.
_ROOM = 20_000
# Callers choose the names that are asked for. MLflow's own columns end at 255 or 256 characters.
_LONGEST_NAME = 300

_PLAIN = (str, int, bool, type(None))
_NOTHING = object()
Answers: TypeAlias = dict[Any, Any]


def remember(auth: ModuleType, version: str, seconds: int) -> bool:
    """Wraps the look-ups of ``mlflow.server.auth``, where they are known. Raises nothing.

    Takes that module, MLflow's version, and for how many seconds an answer may be used at most; 0 leaves all
    untouched. So does a version that nobody has looked at, a database that is no SQLite file, and one with a
    replica for reading. Returns whether the look-ups are wrapped.
    """
    if seconds <= 0:
        return False
    try:
        row = look_ups.of_version(version)
        path = _only_file(auth.store)
        if row is None or path is None:
            logger.info("the look-ups of MLflow %s on this database are not remembered", version)
            return False
        # The child of a fork makes its engine anew, and has a store that its parent wrapped.
        if row.remembered[0] in vars(auth.store):
            return True
        memory = Memory(path, seconds)
        # All are made before the first one is put into its place: half of them would be hard to explain.
        wrapped = {name: _wrapped(memory, name, getattr(auth.store, name)) for name in row.remembered}
        for name, method in wrapped.items():
            setattr(auth.store, name, method)
        if row.runs and not _workspaces():
            vars(auth)["_get_tracking_store"] = ExperimentsOfRuns(auth._get_tracking_store).store
    except Exception:
        logger.warning("MLflow's look-ups of permissions are not remembered", exc_info=True)
        return False
    return True


class Memory:
    """The answers that are true of one SQLite file now."""

    def __init__(self, path: str, seconds: float, room: int = _ROOM) -> None:
        """Takes the path of the file, for how long an answer is good, and how many things may be kept."""
        self._file = ReadOnly(path)
        self._seconds = seconds
        self._room = room
        self._version = (0, 0)
        self._until = 0.0
        self._answers: Answers = {}
        self._used = 0

    def now(self) -> Answers | None:
        """The answers that are still true; ``None`` when that cannot be told without waiting."""
        with self._file.lock:
            try:
                ((number,),) = self._file.ask("PRAGMA data_version")
            except sqlite3.Error:
                return None
            version = (self._file.opened, number)
            if version != self._version or time.monotonic() >= self._until:
                self._version = version
                self._until = time.monotonic() + self._seconds
                self._forget()
            return self._answers

    def keep(self, answers: Answers, key: Any, answer: Any, size: int) -> None:
        """Keeps an answer among those that were true before it was asked for."""
        with self._file.lock:
            if answers is not self._answers or size > self._room:
                return
            if self._used + size > self._room:
                self._forget()
            self._used += size
            self._answers[key] = answer

    def _forget(self) -> None:
        self._answers = {}
        self._used = 0


class _Raised:
    """That the answer was an exception."""

    def __init__(self, error: Exception) -> None:
        # A copy has no traceback, which would hold MLflow's session and grow each time.
        self.error = copy.copy(error)


class _UnknownKindError(Exception):
    """The answer is of a kind that nobody has looked at."""


def _wrapped(memory: Memory, name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
    from mlflow.exceptions import MlflowException

    @functools.wraps(ask)
    def answer(*arguments: Any, **named: Any) -> Any:
        answers: Answers | None = None
        kept: Any = _NOTHING
        try:
            key = _key(name, arguments, named)
            if key is not None:
                answers = memory.now()
            if answers is not None:
                kept = _copied(answers.get(key, _NOTHING))
        except Exception:
            # Whatever is wrong here, MLflow can still be asked.
            answers, kept = None, _NOTHING
        if type(kept) is _Raised:
            raise kept.error
        if kept is not _NOTHING:
            return kept
        try:
            fresh = ask(*arguments, **named)
        except MlflowException as error:
            known = type(error) is MlflowException and error.error_code == "RESOURCE_DOES_NOT_EXIST"
            if known and answers is not None:
                memory.keep(answers, key, _Raised(error), 1)
            raise
        if answers is not None:
            with contextlib.suppress(_UnknownKindError):
                memory.keep(answers, key, _copied(fresh), _size(fresh))
        return fresh

    return answer


def _key(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What is the same for the same question; ``None`` for one with an argument of an unknown kind."""
    parts: list[Any] = [name]
    for part in (*arguments, *(part for item in named.items() for part in item)):
        kind = type(part)
        if kind is set or kind is frozenset:
            part = frozenset(part)
            if not all(type(member) is str and len(member) <= _LONGEST_NAME for member in part):
                return None
        elif not (kind is int or part is None or (kind is str and len(part) <= _LONGEST_NAME)):
            return None
        parts.append(part)
    # How many came without a name, since a name is a string like any other.
    return (len(arguments), *parts)


def _copied(answer: Any) -> Any:
    """The same again for one caller alone, who may change it. Raises ``_UnknownKindError``."""
    kind = type(answer)
    if kind in _PLAIN or isinstance(answer, tuple) or answer is _NOTHING:
        return answer
    if kind is list:
        return [_copied(member) for member in answer]
    if kind is set:
        return set(answer)
    if kind is _Raised:
        return _Raised(answer.error)
    if kind.__module__ == "mlflow.server.auth.permissions":
        # One of MLflow's own constants (READ, EDIT ...), which it hands out itself.
        return answer
    if kind.__module__ == "mlflow.server.auth.entities":
        new = object.__new__(kind)
        new.__dict__.update({name: _copied(value) for name, value in answer.__dict__.items()})
        return new
    raise _UnknownKindError


def _size(answer: Any) -> int:
    if isinstance(answer, (list, set)):
        return 1 + sum(_size(member) for member in answer)
    # Up to 3.12 a user carries lists of grants.
    values = getattr(answer, "__dict__", {}).values()
    return 1 + sum(_size(value) for value in values if isinstance(value, list))


def _only_file(store: Any) -> str | None:
    """The one SQLite file that MLflow's auth store reads; ``None`` for any other database."""
    kind = type(store)
    if (kind.__module__, kind.__name__) != ("mlflow.server.auth.sqlalchemy_store", "SqlAlchemyStore"):
        return None
    # From 3.13 on reads may go to a replica, whose commits are other ones.
    if getattr(store, "read_engine", None) is not None:
        return None
    return plain_file(store.engine)


def _workspaces() -> bool:
    return os.environ.get("MLFLOW_ENABLE_WORKSPACES", "false").strip().lower() not in ("false", "0", "")
