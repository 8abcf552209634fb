"""A real `mlflow server --app-name basic-auth` of one version, as a process group in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support import ports, processes, tokens, venvs, wire
from support.provider import CLIENT_ID, CLIENT_SECRET

ADMIN = ("admin", "admin-password-1234567")
SESSION_SECRET = "session-secret-of-the-tests-0123456789abcdef"
# Where people find the servers that stand behind a pretended TLS proxy.
PUBLIC = "https://mlflow.example"
FUNCTION = "auth.oidc_auth:authenticate_request"


class MlflowServer:
    """Started by `start`, ended by `stop`, which also reads the log for what must not be in it."""

    def __init__(
        self,
        version: str,
        folder: Path,
        *,
        settings: Mapping[str, str],
        workers: int = 1,
        arguments: list[str] | None = None,
        more: list[str] | None = None,
        oidc_section: Mapping[str, str] | None = None,
        roles_section: str = "",
        function: str = FUNCTION,
        prefix: str = "",
        host: str = "127.0.0.1",
        secrets: tuple[str, ...] = (),
        fresh: bool = False,
        port: int | None = None,
        database_uri: str = "sqlite:///basic_auth.db",
        backend_store_uri: str = "sqlite:///mlflow.db",
        replica: str | None = None,
    ) -> None:
        self.version, self.folder, self.workers, self.prefix = version, folder, workers, prefix
        self.port = port or ports.free(host)
        self.host = host
        self.origin = ports.origin(host, self.port)
        self.url = self.origin + prefix
        # Named by the port: two servers of one test may share a folder, as replicas share their databases.
        self.log = folder / f"server-{self.port}.log"
        self.secrets = {ADMIN[1], SESSION_SECRET, *secrets}
        # How lines begin that end a traceback which a test has asked for.
        self.excused: set[str] = set()
        self._settings = dict(settings)
        self._arguments = arguments
        self._more = list(more or [])
        self._oidc_section = dict(oidc_section or {})
        # The lines of `[oidc:roles]`, which a test may change before a restart.
        self.roles_section = roles_section
        self._function = function
        self._fresh = fresh
        self._database_uri, self._backend_store_uri = database_uri, backend_store_uri
        self._replica = replica
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def session_cache_seconds(self) -> float:
        """How long a worker may go on believing in a session that another one ended."""
        return float(self._settings.get("OIDC_SESSION_CACHE_SECONDS", 5))

    @property
    def modern(self) -> bool:
        """uvicorn with routes that never pass Flask: MLflow 3."""
        return self.version.startswith("3.")

    def start(self, wait: bool = True) -> MlflowServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._fresh:
            for database in venvs.template(self.version).glob("*.db"):
                shutil.copy(database, self.folder)
        write_ini(
            self.folder,
            self._function,
            self._oidc_section,
            self._database_uri,
            self.roles_section,
            self._replica,
        )
        command = [str(venvs.program(self.version, "mlflow")), "server", "--app-name", "basic-auth"]
        command += self._arguments or self._default_arguments()
        command += ["--port", str(self.port), *self._more]
        if self.prefix:
            command += ["--static-prefix", self.prefix]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            if self._answers() and len(self.worker_pids()) >= self.workers:
                return
            time.sleep(0.1)
        raise AssertionError(f"mlflow {self.version} did not start:\n{self.log_tail()}")

    def stop(self) -> None:
        """Ends the whole process group, whatever state it is in, and then reads what it left behind."""
        if self._process is None:
            return
        processes.end_group(self._process)
        self._process = None
        faults = self.faults_in_log() + self.faults_in_databases()
        assert not faults, "\n".join(faults) + f"\n--- {self.log}\n{self.log_tail()}"

    def kill(self) -> None:
        """All its processes at once and without a word, as a power cut ends them."""
        assert self._process is not None
        processes.kill_group(self._process)
        self._process = None

    def restart(self, **settings: str) -> None:
        """The same folder, port and log, under other settings."""
        self.stop()
        self._settings |= settings
        self._fresh = True
        self.start()

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        return wire.send(method, self.url + path, **arguments)

    def call_native(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """On MLflow's event loop the first sight of anything may be a 503: come again in a second."""
        for _ in range(15):
            answer = self.call(method, path, **arguments)
            if answer.status_code != 503:
                break
            assert answer.headers["Retry-After"] == "1", answer.headers
            time.sleep(1)
        return answer

    def admin(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """A call as MLflow's own administrator, by Basic."""
        answer = self.call(method, path, auth=ADMIN, **arguments)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        body: dict[str, Any] = answer.json()
        return body

    def rows(self, query: str, *values: Any, database: str = "basic_auth.db") -> list[tuple[Any, ...]]:
        """Read from outside the server, in a connection that cannot write."""
        with self.reading(database) as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def reading(self, database: str) -> Iterator[sqlite3.Connection]:
        path = self.folder / database
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            yield connection
        finally:
            connection.close()

    def user(self, username: str) -> tuple[bool, str] | None:
        """(is_admin, password_hash) of MLflow's own row, or None."""
        rows = self.rows("SELECT is_admin, password_hash FROM users WHERE username = ?", username)
        assert len(rows) <= 1
        return (bool(rows[0][0]), rows[0][1]) if rows else None

    def is_admin(self, username: str) -> bool | None:
        row = self.user(username)
        return row[0] if row else None

    def every_row(self, database: str) -> dict[str, list[tuple[Any, ...]]]:
        """All that is in a database, table by table."""
        found = self.rows("SELECT name FROM sqlite_master WHERE type = 'table'", database=database)
        return {
            name: sorted(self.rows(f'SELECT * FROM "{name}"', database=database), key=repr)
            for (name,) in found
        }

    def worker_pids(self) -> list[int]:
        return processes.listeners(self.port) if self._process else []

    @contextmanager
    def only_worker(self, index: int) -> Iterator[None]:
        """Only this worker can take a request: the others stand still for the moment.

        Keep it under four seconds: the master of uvicorn replaces a worker that does not answer it.
        """
        pids = self.worker_pids()
        assert len(pids) == self.workers, f"workers {pids} of {self.workers}"
        others = [pid for place, pid in enumerate(pids) if place != index]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - started < 4.5, "a worker may have been replaced: nothing is proved"
        assert self.worker_pids() == pids

    def variable_of_a_worker(self, name: str) -> str | None:
        """What MLflow itself put into its workers' environment."""
        lines = Path(f"/proc/{self.worker_pids()[0]}/environ").read_text().split("\0")
        return dict(line.partition("=")[::2] for line in lines).get(name)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log_text().splitlines()[-lines:])

    def faults_in_log(self) -> list[str]:
        text = self.log_text()
        faults = [f"a secret is in the log: {secret[:6]}..." for secret in self.secrets if secret in text]
        faults += [f"a token is in the log: {token[:20]}..." for token in tokens.MINTED if token in text]
        faults += [
            f"something like a JWT is in the log: {found[:20]}..." for found in tokens.JWT.findall(text)
        ]
        for found in text.split("Traceback")[1:]:
            if not any(f"\n{line}" in found for line in self.excused):
                faults.append("a traceback is in the log:\nTraceback" + found[:4000])
                break
        return faults

    def faults_in_databases(self) -> list[str]:
        """Nothing of the provider's lies readable in a file: whoever copies a database is nobody by it."""
        faults = []
        for path in self.folder.glob("basic_auth.db*"):
            data = path.read_bytes()
            faults += [f"a token is in {path.name}" for token in tokens.MINTED if token.encode() in data]
            faults += [f"a secret is in {path.name}" for secret in self.secrets if secret.encode() in data]
        return faults

    def _answers(self) -> bool:
        try:
            wire.send("GET", f"{self.origin}/health", timeout=2)
        except requests.RequestException:
            return False
        return True

    def _default_arguments(self) -> list[str]:
        arguments = ["--host", self.host, "--workers", str(self.workers)]
        arguments += ["--backend-store-uri", self._backend_store_uri]
        return arguments + ["--artifacts-destination", str(self.folder / "artifacts")]

    def environment(self) -> dict[str, str]:
        """Made from nothing, so that no variable, proxy or netrc of the machine decides a test."""
        return {
            **venvs.environment(self.version, self.folder),
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "basic_auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": SESSION_SECRET,
            # The job runner is several more processes per server, and no test here runs a job.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **self._settings,
        }


def write_ini(
    folder: Path,
    function: str = FUNCTION,
    oidc_section: Mapping[str, str] | None = None,
    database_uri: str = "sqlite:///basic_auth.db",
    roles_section: str = "",
    replica: str | None = None,
) -> Path:
    """MLflow's own configuration, and ours where there is some; the path of the file."""
    lines = [
        "[mlflow]",
        "default_permission = READ",
        # MLflow reads the file with interpolation.
        f"database_uri = {database_uri.replace('%', '%%')}",
        f"admin_username = {ADMIN[0]}",
        f"admin_password = {ADMIN[1]}",
        f"authorization_function = {function}",
    ]
    if replica:
        lines.append(f"read_database_uri = {replica.replace('%', '%%')}")
    if oidc_section:
        lines += ["", "[oidc]", *(f"{key} = {value}" for key, value in oidc_section.items())]
    if roles_section:
        lines += ["", "[oidc:roles]", roles_section]
    path = folder / "basic_auth.ini"
    path.write_text("\n".join(lines) + "\n")
    return path


def settings_for(issuer: str, **more: str) -> dict[str, str]:
    """The original demo's five variables, and whatever a test adds to them."""
    return {
        "OIDC_ISSUER_URL": issuer,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_USERNAME_CLAIM": "email",
        "OIDC_USER_GROUP": "MLFLOW",
        **more,
    }


MakeServer = Callable[..., MlflowServer]
