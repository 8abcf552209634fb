"""Each store of identities and sessions, on a database of its own, opened again and again as workers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy

from mlflow_oidc._native import Store
from mlflow_oidc.asking import Database
from mlflow_oidc.store import Identity, Session
from mlflow_oidc.store import Store as Adapter
from support import databases

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """One row of the table: a server, and how its address goes on."""

    server: str
    more: str = ""
    driver: str = ""


# The second row of a server is the setting of an operator that is most unlike the first one.
SERVERS = {
    "postgresql": Kind("postgresql"),
    "postgresql-serializable": Kind(
        "postgresql", "&options=-c%20default_transaction_isolation%3Dserializable", "+psycopg"
    ),
    "mariadb": Kind("mariadb"),
    "mariadb-lax": Kind("mariadb", "&init_command=SET%20sql_mode%3D%27%27"),
}
NAMES = ("rusqlite", "sqlite", *SERVERS)


class Opener:
    """Opens a store on one and the same database."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._engines: list[Any] = []
        self.path = folder / "store"
        if kind := SERVERS.get(name):
            scheme, _, rest = databases.running(kind.server).fresh().partition("://")
            scheme = scheme.partition("+")[0] + kind.driver if kind.driver else scheme
            self.url = f"{scheme}://{rest}{kind.more}"
        else:
            self.url = f"sqlite:///{self.path}"

    def database(self) -> Database:
        """What a worker's engine asks: with a pool of its own, made as MLflow makes it."""
        engine = sqlalchemy.create_engine(self.url, pool_pre_ping=True)
        self._engines.append(engine)
        return Database(engine)

    def open(self) -> Store:
        if self.name == "rusqlite":
            return Store.of_file(self.path)
        return Store.over(Adapter(self.database()))

    def ready(self) -> Store:
        """A store whose tables are there."""
        store = self.open()
        store.prepare()
        return store

    def execute(self, *statements: str) -> None:
        """By hand, past the store."""
        engine = self.database().engine
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))

    def together(self, count: int, work: Callable[[int, Store], T]) -> list[T | Exception]:
        """Runs work in many threads, each with a store of its own, all at the same moment."""
        barrier = threading.Barrier(count)
        results: list[Any] = [None] * count

        def one(number: int) -> None:
            store = self.open()
            barrier.wait()
            try:
                results[number] = work(number, store)
            except Exception as fault:
                results[number] = fault

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def close(self) -> None:
        for engine in self._engines:
            engine.dispose()


def at_once(ask: Callable[..., T], *arguments: Any) -> T:
    """What somebody is told who may not wait, and who comes again where it is not at once, as clients do."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return ask(*arguments, False)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def identity(issuer: str, subject: str, username: str, **other: Any) -> Identity:
    row = {"user_id": 0, "groups": ["MLFLOW"], "told_at": 0, "made_here": True, **other}
    return issuer, subject, username, row["user_id"], row["groups"], row["told_at"], row["made_here"]


def session(name: int, created_at: int, expires_at: int, **other: Any) -> Session:
    row = {
        "subject": "alice",
        "issuer": "i",
        "sid": None,
        "checked_at": created_at,
        "id": None,
        "refresh": None,
    }
    row |= other
    times = created_at, expires_at, row["checked_at"]
    return bytes([name] * 32), row["issuer"], row["subject"], row["sid"], *times, row["id"], row["refresh"]
