"""Which experiment a run belongs to, for MLflow's permission checks: one row instead of a whole run.

Before each metric, parameter or tag that is logged, ``mlflow.server.auth`` reads the run with all its
metrics, parameters, tags, inputs and outputs from the tracking store (2 ms, and more with each metric of the
run), and uses its ``info.experiment_id``. Nothing is remembered here: the row is read each time, in 10 µs.
"""

import functools
import sqlite3
from collections.abc import Callable
from typing import Any

from mlflow_oidc.read_only import ReadOnly, plain_file


class ExperimentsOfRuns:
    """Stands where ``mlflow.server.auth`` asks for the tracking store."""

    def __init__(self, get_store: Callable[[], Any]) -> None:
        """Takes MLflow's own function for that."""
        self._get_store = get_store
        # MLflow has one tracking store in a process; what is made for it is put into its place in one step.
        self._made: tuple[Any, Any] = (None, None)

    def store(self, *arguments: Any, **named: Any) -> Any:
        """MLflow's tracking store, with another ``get_run`` where it is one of an SQLite file."""
        store = self._get_store(*arguments, **named)
        known, instead = self._made
        if store is not known:
            instead = _instead(store)
            self._made = (store, instead)
        return instead


def _instead(store: Any) -> Any:
    # Exactly this class: what inherits from it may have another idea of what may be seen.
    kind = type(store)
    if (kind.__module__, kind.__name__) != ("mlflow.store.tracking.sqlalchemy_store", "SqlAlchemyStore"):
        return store
    path = plain_file(store.engine)
    # From 3.13 on reads may go to a replica.
    if path is None or getattr(store, "read_engine", None) is not None:
        return store
    return _Store(store, ReadOnly(path))


class _Store:
    """The tracking store in all but ``get_run``."""

    def __init__(self, store: Any, file: ReadOnly) -> None:
        self._store = store
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_run(self, run_id: Any) -> Any:
        """A run that knows its experiment at once, and the rest when asked; else MLflow's own answer."""
        if type(run_id) is not str:
            return self._store.get_run(run_id)
        try:
            with self._file.lock:
                rows = self._file.ask("SELECT experiment_id FROM runs WHERE run_uuid = ?", run_id)
        except sqlite3.Error:
            # Locked, or not to be opened: MLflow waits, or says so.
            rows = []
        return _Run(self._store, run_id, str(rows[0][0])) if len(rows) == 1 else self._store.get_run(run_id)


class _Run:
    def __init__(self, store: Any, run_id: str, experiment_id: str) -> None:
        self._read: Callable[[], Any] = functools.partial(store.get_run, run_id)
        self.info = _Info(self._read, experiment_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read(), name)


class _Info:
    def __init__(self, read: Callable[[], Any], experiment_id: str) -> None:
        self._read = read
        self.experiment_id = experiment_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read().info, name)
