"""Whole requests over HTTP: a real `mlflow server` with one worker for each, a connection kept alive."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from werkzeug.datastructures import Headers

import children
import keys
import login
from pages import headers, pages
from provider import Provider
from targets import Found
from wholes import KINDS, compared, home, template

APPS = {"no auth": None, "mlflow-oidc-auth": "oidc-auth"}


class Server:
    """One server, and the one connection to it."""

    def __init__(self, kind: str, folder: Path, variables: dict[str, str], run: str, token: str) -> None:
        self.kind, self.folder, self.log = kind, folder, folder / "server.log"
        self.pages, self.token = pages(run), token
        self.port = _free_port()
        self.cookie: str | None = None
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        environment = {
            name: value
            for name, value in children.environment(folder, **variables).items()
            if not name.startswith("_MLFLOW_SERVER")
        }
        command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        command += ["--artifacts-destination", variables["_MLFLOW_SERVER_ARTIFACT_DESTINATION"]]
        app = APPS.get(kind, "basic-auth")
        command += ["--app-name", app] if app else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "PYTHONPATH": str(children.HERE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.fetch("GET", "/health", {})[0] == 200:
                    return
            self._connection.close()
            time.sleep(0.2)
        raise children.Failed(f"the server of {self.kind} did not start:\n{self._tail()}")

    def stop(self) -> None:
        self._connection.close()
        for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def fetch(
        self, method: str, target: str, sent: dict[str, str], body: bytes = b""
    ) -> tuple[int, Headers, bytes]:
        self._connection.request(method, target, body or None, sent)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, Headers(answer.getheaders()), content

    def measure(self, page: str, by: str, count: int, warm: int = 3) -> list[int]:
        """Nanoseconds from the request to the end of the answer, each time on the same connection."""
        one, samples = self.pages[page], array("q")
        sent = headers(f"Bearer {self.token}" if by == "bearer" else None, self._session(by))
        if one.method == "POST":
            sent["Content-Type"] = "application/json"
            if by == "session":
                sent["Origin"] = f"http://127.0.0.1:{self.port}"
        for _ in range(warm + count):
            body = one.body()
            begin = time.perf_counter_ns()
            status, _, content = self.fetch(one.method, one.target, sent, body)
            samples.append(time.perf_counter_ns() - begin)
            if status != 200 or one.has.encode() not in content:
                raise children.Failed(
                    f"{self.kind}: {one.method} {one.target}: {status} {content[:300]!r}\n{self._tail()}"
                )
        return samples[warm:].tolist()

    def _session(self, by: str) -> str | None:
        if by != "session":
            return None
        if self.cookie is None:

            def fetch(target: str, sent: dict[str, str]) -> tuple[int, Any]:
                return self.fetch("GET", target, sent)[:2]

            way = login.rivals if self.kind == "mlflow-oidc-auth" else login.ours
            self.cookie = way(fetch)
        return self.cookie

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


def measure(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints the table."""
    seeded = template(folder, provider)
    run = (seeded / "run").read_text()
    token = keys.load(folder / "keys")["RS256"].token(keys.claims(provider.issuer))
    with _started(folder, provider, seeded, run, token) as servers:

        def ask(kind: str, page: str, by: str, count: int) -> list[int]:
            return servers[kind].measure(page, by, count)

        print(compared("over HTTP", ask, set(), quick, found))


@contextlib.contextmanager
def _started(
    folder: Path, provider: Provider, seeded: Path, run: str, token: str
) -> Iterator[dict[str, Server]]:
    servers: dict[str, Server] = {}
    try:
        for kind in KINDS:
            where, variables = home(folder / f"http-{kind.replace(' ', '-')}", kind, provider, seeded)
            servers[kind] = Server(kind, where, variables, run, token)
        for server in servers.values():
            server.wait_until_ready()
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
