"""Finds and opens the databases of the server in whose folder, environment and Python a command runs."""

import configparser
import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from mlflow_oidc import _native, tables
from mlflow_oidc.asking import Database, Unanswered
from mlflow_oidc.doctor import Patient
from mlflow_oidc.people import People, Refused
from mlflow_oidc.read_only import is_usable, plain_file
from mlflow_oidc.store import Store

# What MLflow adds to an address of MySQL by its variables, in `create_sqlalchemy_engine`.
_MYSQL = {
    "ssl_ca": "MLFLOW_MYSQL_SSL_CA",
    "ssl_cert": "MLFLOW_MYSQL_SSL_CERT",
    "ssl_key": "MLFLOW_MYSQL_SSL_KEY",
}
# Seconds that a locked SQLite file is waited for.
_PATIENCE = 15


class Place:
    """What the settings say here."""

    def __init__(self, patient: Patient) -> None:
        """Takes the reader of MLflow's own file and of the environment. Opens nothing."""
        self.patient = patient

    @cached_property
    def url(self) -> URL:
        """The address of MLflow's database. It may hold a password, and is never printed."""
        ini = self.patient.ini
        if isinstance(ini, str):
            raise Refused(f"{self.patient.ini_path}: {ini}; MLFLOW_AUTH_CONFIG_PATH names the server's")
        address = self._mlflow_setting("database_uri")
        if not address:
            raise Refused(f"{self.patient.ini_path}: expected database_uri in [mlflow], found none")
        try:
            return make_url(address)
        except (ArgumentError, ValueError):
            raise Refused(f"{self.patient.ini_path}: database_uri is no address that can be read") from None

    @property
    def administrator(self) -> str | None:
        """The name of the administrator whom MLflow makes."""
        named = self.patient.environment.get("MLFLOW_AUTH_ADMIN_USERNAME")
        return named or self._mlflow_setting("admin_username")

    def _mlflow_setting(self, name: str) -> str | None:
        try:
            return self.patient.mlflow_setting(name)
        except configparser.Error:
            told = f"MLflow cannot read {name} in [mlflow]; a '%' in a value is written '%%'"
            raise Refused(f"{self.patient.ini_path}: {told}") from None

    def read(self, *groups: list[str] | None) -> tuple[dict[str, Any] | None, list[dict[str, Any] | None]]:
        """Our settings, and what they make of these lists of groups; ``None`` while they have a fault."""
        hook, ini_path = self.patient.hook, self.patient.ini_path
        pairs = [] if isinstance(hook, str) else hook._section(ini_path)
        kind = self.url.get_backend_name()
        usable = is_usable(_file(self.url), kind)
        answer = json.loads(_native.read_settings(pairs, usable, kind, list(groups)))
        return answer["settings"]["read"], answer["judged"] or [None] * len(groups)


def _file(url: URL) -> str | None:
    """The absolute path of an SQLite file; ``None`` where the database is anything else."""
    return plain_file(SimpleNamespace(url=url, dialect=SimpleNamespace(name=url.get_backend_name())))


@contextmanager
def opened(place: Place, *, writes: bool = False, changes: bool = False) -> Iterator[People]:
    """MLflow's tables and ours; with ``writes`` ours are made where they are missing, with ``changes`` those
    of an older version are brought up to date. To look changes nothing: an older server may be running.

    Raises:
        Refused: There is no such database, or it gave no answer; in words without its password.
    """
    people = None
    try:
        try:
            people = _open(place, writes, changes)
        except (TypeError, ValueError) as fault:
            # A driver that does not know a parameter of the address, or cannot read one.
            raise Refused(f"the driver does not take database_uri: {_words(fault, place.url)}") from None
        yield people
    except ModuleNotFoundError as fault:
        raise Refused(f"the driver of the database is not installed here: {fault}") from None
    except BrokenPipeError:
        # Whoever reads what is printed has enough; that is no fault of the database.
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError, RuntimeError, Unanswered) as fault:
        raise Refused(f"the database gave no answer: {_words(fault, place.url)}") from None
    finally:
        if people is not None:
            people.close()


def _open(place: Place, writes: bool, changes: bool) -> People:
    url = place.url
    path = _file(url)
    if path is None:
        told = _connect_arguments(url, place.patient.environment)
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=told)
        there = sqlalchemy.inspect(engine)
        _expect_users(there.has_table("users"), "the database of database_uri")
        if there.has_table(tables.sessions.name) and there.has_table(tables.identities.name):
            return People(engine, engine)
        if writes:
            Store(Database(engine)).prepare()
        return People(engine, engine if writes else _empty())
    if not Path(path).is_file():
        raise Refused(f"there is no file {path}; a relative database_uri counts from the server's folder")
    mlflow = _sqlite(path)
    _expect_users(sqlalchemy.inspect(mlflow).has_table("users"), path)
    ours = f"{path}-oidc"
    if not writes and not Path(ours).is_file():
        return People(mlflow, _empty())
    lacking = {} if writes else _lacking(ours)
    if lacking and not changes:
        return People(mlflow, _as_current(ours, lacking))
    if writes or lacking:
        is_new = not Path(ours).exists()
        # By the wheel's own copy of SQLite, which closes the file before Python's opens it.
        _native.prepare_tables(path)
        if is_new:
            _give(ours, path)
    return People(mlflow, _sqlite(ours))


def _connect_arguments(url: URL, environment: Mapping[str, str]) -> dict[str, str]:
    if not url.drivername.startswith("mysql"):
        return {}
    return {name: environment[variable] for name, variable in _MYSQL.items() if environment.get(variable)}


def _expect_users(there: bool, where: str) -> None:
    if not there:
        raise Refused(f"there is no table 'users' in {where}; MLflow makes it at its first start")


def _give(path: str, like: str) -> None:
    """Gives a new file the owner and the rights of another one: one of root's would stop the server."""
    there = os.stat(like)
    os.chmod(path, stat.S_IMODE(there.st_mode))
    if os.geteuid() == 0:
        os.chown(path, there.st_uid, there.st_gid)


def _sqlite(path: str) -> Any:
    url = URL.create("sqlite", database=path)
    return sqlalchemy.create_engine(url, poolclass=NullPool, connect_args={"timeout": _PATIENCE})


def _empty() -> Any:
    """Our tables in memory, for a server where nobody has signed in yet."""
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    tables.metadata.create_all(engine)
    return engine


def _lacking(path: str) -> dict[str, set[str]]:
    """The columns that our tables in a file of an older version do not have, by table."""
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=_PATIENCE)) as connection:
        found = {
            table.name: {column.name for column in table.columns}
            - {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
            for table in (tables.identities, tables.sessions)
        }
    return {name: columns for name, columns in found.items() if columns}


def _as_current(path: str, lacking: dict[str, set[str]]) -> Any:
    """Such a file to look at: each connection sees what is lacking as it would be in a row of old.

    By views of the connection's own, which stand before the tables of the same names.
    """
    views = []
    for name, columns in lacking.items():
        all_columns = tables.metadata.tables[name].columns
        is_there = len(columns) < len(all_columns)
        wanted = ", ".join(
            f"{column.server_default.arg if column.server_default is not None else 'NULL'} AS {column.name}"
            if column.name in columns
            else f'"{column.name}"'
            for column in all_columns
        )
        views.append(
            f"CREATE TEMP VIEW {name} AS SELECT {wanted} {f'FROM main.{name}' if is_there else 'WHERE 0'}"
        )
    engine = _sqlite(path)

    def stand_before(connection: Any, _: Any) -> None:
        for view in views:
            connection.execute(view)

    sqlalchemy.event.listen(engine, "connect", stand_before)
    return engine


def _words(fault: Exception, url: URL) -> str:
    """The first line of what a driver says. Some repeat the address."""
    said = str(getattr(fault, "orig", None) or fault).strip().split("\n")[0]
    for secret in (url.password, quote(url.password or "")):
        said = said.replace(str(secret), "***") if secret else said
    return f"{said} ({type(fault).__name__})"
