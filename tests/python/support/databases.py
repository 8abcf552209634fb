"""PostgreSQL and MariaDB of Debian, started for the tests on a Unix socket of their own and never on TCP.

The system's own services are not touched. Both refuse to run as root, so that they run as the users that
their packages have made; for anybody else they run as that person.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pymysql
import pytest
import sqlalchemy

from support import venvs

USER = "mlflow"
# Never to be seen in a log or on a page.
PASSWORD = "database-password-of-the-tests"
DOCUMENTED = venvs.REPOSITORY / "docs" / "databases.md"
_numbers = itertools.count(1)


class DatabaseServer(ABC):
    """One server in a folder of its own; `fresh` makes a database in it."""

    kind: str
    package: str
    # Whose process it is where we are root.
    account: str

    def __init__(self) -> None:
        self._programs = self._find()
        # Short, because the path of a socket may have 107 bytes; not below pytest's folder, which is root's
        # alone.
        self.folder = Path(tempfile.mkdtemp(prefix=f"oidc-{self.kind}-"))
        self.log = self.folder / "log"
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.account, self.account)
        self._process: subprocess.Popen[bytes] | None = None
        self._begin()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._process = self._spawn(self._command())
        deadline = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"{self.kind} did not start: {self._told()}")
            time.sleep(0.05)

    def stop(self, sign: int = signal.SIGINT) -> None:
        """Ends it; connections are broken."""
        if self._process is None:
            return
        self._process.send_signal(sign)
        self._process.wait(30)
        self._process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """For the time of a `with` there is no server."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """For the time of a `with` it takes connections and questions and answers none."""
        pids = [self.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # The last of its threads stands still a moment later.
        while not all(_stands_still(pid) for pid in pids):
            time.sleep(0.01)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh(self) -> str:
        """The address of a new, empty database, as SQLAlchemy wants it."""
        name = f"test_{next(_numbers)}"
        self._administer([f"CREATE DATABASE {name}"])
        return self._url(name)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        more: dict[str, Any] = {}
        if os.geteuid() == 0:
            more = {"user": self.account, "group": self.account, "extra_groups": []}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **more,
            )

    def _run(self, command: list[str]) -> None:
        assert self._spawn(command).wait(120) == 0, f"{command[0]}: {self._told()}"

    def _told(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def _children(self) -> list[int]:
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(self._socket) != 0:
                return False
        try:
            self._administer([])
        except (psycopg2.Error, pymysql.MySQLError):
            return False
        return True

    @property
    @abstractmethod
    def _socket(self) -> str: ...
    @abstractmethod
    def _find(self) -> dict[str, str]: ...
    @abstractmethod
    def _begin(self) -> None: ...
    @abstractmethod
    def _command(self) -> list[str]: ...
    @abstractmethod
    def _administer(self, statements: list[str]) -> None: ...
    @abstractmethod
    def _url(self, name: str) -> str: ...


class PostgreSQL(DatabaseServer):
    kind, package, account = "postgresql", "postgresql", "postgres"

    def _find(self) -> dict[str, str]:
        return _programs(self, ["initdb", "postgres"])

    def _begin(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            [self._programs["initdb"], "-D", "data", "-U", USER, "-A", "scram-sha-256"]
            + ["--pwfile", "password", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        )

    def _command(self) -> list[str]:
        settings = ["listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off"]
        settings += ["max_connections=200", "shared_buffers=32MB"]
        return [self._programs["postgres"], "-D", "data"] + [f"--{setting}" for setting in settings]

    def _administer(self, statements: list[str]) -> None:
        connection = psycopg2.connect(
            host=str(self.folder), user=USER, password=PASSWORD, dbname="postgres", connect_timeout=10
        )
        try:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement)
        finally:
            connection.close()

    @property
    def _socket(self) -> str:
        return f"{self.folder}/.s.PGSQL.5432"

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg2://{USER}:{PASSWORD}@/{name}?host={quote(str(self.folder), safe='')}"


class Replica(PostgreSQL):
    """A second PostgreSQL that has what the first one has, and has it later."""

    kind = "replica"

    def __init__(self, primary: PostgreSQL, late: float) -> None:
        """Copies the primary as it is now; from then on each commit arrives `late` seconds late."""
        self._primary, self._late = primary, late
        super().__init__()

    def _find(self) -> dict[str, str]:
        return _programs(self, ["pg_basebackup", "postgres"])

    def _begin(self) -> None:
        where = f"host={self._primary.folder} user={USER} password={PASSWORD}"
        command = [
            self._programs["pg_basebackup"],
            "-d",
            where,
            "-D",
            "data",
            "-R",
            "-c",
            "fast",
            "--no-sync",
        ]
        self._run(command)
        (self.folder / "data").chmod(0o700)

    def _command(self) -> list[str]:
        return [*super()._command(), f"--recovery_min_apply_delay={self._late}s"]

    def url_of(self, url: str) -> str:
        """Where the database of an address of the primary's is read from."""
        return self._url(url.partition("@/")[2].partition("?")[0])


class MariaDB(DatabaseServer):
    kind, package, account = "mariadb", "mariadb-server", "mysql"

    def _find(self) -> dict[str, str]:
        return _programs(self, ["mariadb-install-db", "mariadbd"])

    def _begin(self) -> None:
        self._run(
            [self._programs["mariadb-install-db"], "--no-defaults", f"--datadir={self.folder}/data"]
            + ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-log-bin"]
        )

    def _command(self) -> list[str]:
        settings = [f"datadir={self.folder}/data", f"socket={self._socket}", "skip-networking"]
        settings += [f"pid-file={self.folder}/pid", "innodb-buffer-pool-size=64M", "max-connections=200"]
        settings += ["innodb-flush-log-at-trx-commit=0", "innodb-log-file-size=16M"]
        return [self._programs["mariadbd"], "--no-defaults"] + [f"--{setting}" for setting in settings]

    def stop(self, sign: int = signal.SIGTERM) -> None:
        super().stop(sign)

    def _administer(self, statements: list[str]) -> None:
        if not Path(self._socket).exists():
            # PyMySQL would leave a socket of its own open.
            raise pymysql.OperationalError("the server does not listen yet")
        connection = pymysql.connect(unix_socket=self._socket, user="root", connect_timeout=10)
        account = f"{USER}@localhost"
        grants = f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{PASSWORD}'"
        try:
            with connection.cursor() as cursor:
                for statement in [grants, f"GRANT ALL ON *.* TO {account}", *statements]:
                    cursor.execute(statement)
        finally:
            connection.close()

    @property
    def _socket(self) -> str:
        return f"{self.folder}/socket"

    def _url(self, name: str) -> str:
        path = quote(self._socket, safe="")
        return f"mysql+pymysql://{USER}:{PASSWORD}@localhost/{name}?unix_socket={path}"


def prepared(kind: str, version: str, folder: Path) -> str:
    """The address of a fresh database with MLflow's own tables, made as `docs/databases.md` says."""
    url = running(kind).fresh()
    if kind == "mariadb":
        make_ready(url, version)
    done = upgrade(url, version, folder)
    assert done.returncode == 0, done.stderr
    return url


def make_ready(url: str, version: str) -> None:
    """The tables that MLflow cannot make on MySQL, by the words of the document."""
    first, second = re.findall(r"```sql\n(.*?)```", DOCUMENTED.read_text(), re.DOTALL)
    execute(url, first if version.startswith("3.") else first + second)


def upgrade(url: str, version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """MLflow's own migration, by its own command."""
    return subprocess.run(
        [str(venvs.program(version, "python")), "-m", "mlflow.server.auth", "db", "upgrade", "--url", url],
        env={**venvs.environment(version, folder), "MLFLOW_FLASK_SERVER_SECRET_KEY": "0123456789abcdef"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def execute(url: str, statements: str) -> None:
    """Statements that end with semicolons, by hand."""
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()


def rows(url: str, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """What a query finds, asked from outside the server."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(sqlalchemy.text(query), values)]
    engine.dispose()
    return found


KINDS = {server.kind: server for server in (PostgreSQL, MariaDB)}
_running: dict[str, DatabaseServer] = {}


def running(kind: str) -> DatabaseServer:
    """The server of that kind; the first who asks has it started, `end` ends it."""
    if kind not in _running:
        _running[kind] = KINDS[kind]()
        _running[kind].start()
    return _running[kind]


def end() -> None:
    """Ends all that were started."""
    while _running:
        _running.popitem()[1].remove()


def _programs(server: DatabaseServer, names: list[str]) -> dict[str, str]:
    # Debian keeps them where nobody's path leads.
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    folders += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    found = {name: shutil.which(name, path=os.pathsep.join(folders)) for name in names}
    programs = {name: path for name, path in found.items() if path is not None}
    if len(programs) < len(names) or (os.geteuid() == 0 and not _has_account(server.account)):
        told = f"no {server.kind}: `apt-get install {server.package}` puts it there"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    return programs


def _stands_still(pid: int) -> bool:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)
    except OSError:
        # It has ended.
        return True


def _has_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
