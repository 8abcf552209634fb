"""The two servers of the demo, a provider and an MLflow: each a process group, all files in one folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import secrets
import signal
import site
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_oidc.demo_people import Person

HOST = "127.0.0.1"
MLFLOW_PORT, PROVIDER_PORT = 8080, 9400
# The bearer token that is printed has to last as long as somebody plays with the demo.
TOKEN_SECONDS = 12 * 60 * 60
# MLflow imports half of scientific Python in each process, the very first time without compiled bytecode.
PATIENCE_SECONDS = 180


class DemoError(Exception):
    """Something that the person at the terminal has to know; the text is all they see."""


@dataclass(frozen=True)
class Process:
    """A server that we started, as the leader of a process group."""

    name: str
    child: subprocess.Popen[bytes]
    log: Path


@dataclass
class Servers:
    """Both servers: where they are, the client that MLflow is at the provider, and the folder of it all."""

    folder: Path
    mlflow: str
    provider: str
    mlflow_version: str
    client_id: str = "mlflow"
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    processes: list[Process] = field(default_factory=list)

    @classmethod
    def planned(cls, folder: Path, port: int | None, *, anywhere: bool) -> Servers:
        """Nothing runs yet, but the ports are known: the given one, the usual ones, or free ones.

        `anywhere` is for a demo that nobody looks at: two of them at once must not take the same port.
        """
        if port is not None and not is_free(port):
            raise DemoError(f"Port {port} is taken or not allowed. Choose another one, or leave --port out.")
        return cls(
            folder,
            mlflow=f"http://{HOST}:{port or free_port(0 if anywhere else MLFLOW_PORT)}",
            provider=f"http://{HOST}:{free_port(0 if anywhere else PROVIDER_PORT)}",
            mlflow_version=importlib.metadata.version("mlflow"),
        )

    def start(self, stack: ExitStack, people: Iterable[Person], group: str) -> None:
        """Start both and wait until they answer. Each one's end is put on the stack as soon as it exists."""
        claims = [word for person in people for word in ("--user-claims", json.dumps(person.claims()))]
        provider = self._launch(
            stack,
            "the provider",
            [
                "-m",
                "oidc_provider_mock",
                *listen_at(self.provider),
                "--token-max-age",
                str(TOKEN_SECONDS),
                *claims,
            ],
            environment(self.folder),
        )
        mlflow = self._launch(
            stack,
            f"MLflow {self.mlflow_version}",
            ["-m", "mlflow", "server", "--app-name", "basic-auth", *listen_at(self.mlflow), "--workers", "1"]
            + ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
            + ["--serve-artifacts", "--artifacts-destination", f"{self.folder}/artifacts"],
            environment(self.folder) | self._settings(group),
        )
        wait_for(provider, f"{self.provider}/.well-known/openid-configuration", "a few seconds")
        wait_for(mlflow, f"{self.mlflow}/health", "10 to 30 seconds")

    def watch(self) -> None:
        """Until Ctrl-C, or until a server is gone by itself."""
        while True:
            for process in self.processes:
                if process.child.poll() is not None:
                    raise DemoError(f"{process.name} ended by itself.\n{tail(process.log)}")
            time.sleep(0.5)

    def _settings(self, group: str) -> dict[str, str]:
        """What a platform engineer sets: one line in basic_auth.ini, and five variables."""
        lines = {
            "default_permission": "READ",
            "database_uri": f"sqlite:///{self.folder}/basic_auth.db",
            "admin_username": "admin",
            "admin_password": secrets.token_urlsafe(16),
            "authorization_function": "auth.oidc_auth:authenticate_request",
        }
        # MLflow reads the file with interpolation, so a per cent sign is written twice.
        text = "".join(f"{key} = {value.replace('%', '%%')}\n" for key, value in lines.items())
        config = self.folder / "basic_auth.ini"
        config.write_text(f"[mlflow]\n{text}")
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
            "OIDC_ISSUER_URL": self.provider,
            "OIDC_CLIENT_ID": self.client_id,
            "OIDC_CLIENT_SECRET": self.client_secret,
            "OIDC_USERNAME_CLAIM": "email",
            "OIDC_USER_GROUP": group,
        }

    def _launch(
        self, stack: ExitStack, name: str, arguments: Sequence[str], env: Mapping[str, str]
    ) -> Process:
        """One server, in a session of its own: Ctrl-C reaches only us, and we stop all that it started."""
        log = self.folder / f"{name.split()[-1] if name.startswith('the ') else 'mlflow'}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, child, log)
        stack.callback(end, process)
        self.processes.append(process)
        return process


def environment(folder: Path) -> dict[str, str]:
    """The person's environment without what would change the demo, and with its home in our folder.

    A `~/.netrc` or `~/.mlflow/credentials` would silently take the place of the bearer token, and no proxy is
    to be asked for an address of this machine.
    """
    mine = ("MLFLOW_", "_MLFLOW_", "OIDC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    changed = {
        # Older MLflows start gunicorn by its name alone.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath))),
        "HOME": str(folder),
        "NETRC": str(folder / "no-netrc"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(folder),
        # A `pip install --user` stays visible although the home is another.
        "PYTHONUSERBASE": site.getuserbase(),
        "NO_PROXY": HOST,
        "no_proxy": HOST,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Nothing here runs jobs, and MLflow 3 would start seven more processes to wait for them.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return kept | changed


def end(process: Process, seconds: float = 10) -> None:
    """Ask the whole group to end, wait, and then no longer ask."""
    with suppress(ProcessLookupError):
        os.killpg(process.child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.child.wait(timeout=seconds)
    # Whoever of the group has outlived its leader.
    with suppress(ProcessLookupError):
        os.killpg(process.child.pid, signal.SIGKILL)
    process.child.wait()


def wait_for(process: Process, url: str, usual: str) -> None:
    """Until it answers, with a sign of life every two seconds."""
    print(f"Starting {process.name} ({usual}) ", end="", flush=True)
    begin = shown = time.monotonic()
    while not answers(url):
        now = time.monotonic()
        if process.child.poll() is not None:
            raise DemoError(f"{process.name} ended while it was starting.\n{tail(process.log)}")
        if now - begin > PATIENCE_SECONDS:
            raise DemoError(
                f"{process.name} did not answer within {PATIENCE_SECONDS} s.\n{tail(process.log)}"
            )
        if now - shown >= 2:
            print(".", end="", flush=True)
            shown = now
        time.sleep(0.2)
    print(f" ready after {time.monotonic() - begin:.0f} s", flush=True)


def answers(url: str) -> bool:
    """Is there a 200?"""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def tail(log: Path, lines: int = 40) -> str:
    """The end of a log, named, for a message."""
    kept = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"The end of {log.name}:", *(f"  {line[:200]}" for line in kept)])


def listen_at(url: str) -> list[str]:
    """The two options of both servers for the address they are reached at."""
    return ["--host", HOST, "--port", url.rpartition(":")[2]]


def free_port(preferred: int) -> int:
    """The port that everybody expects, or another one that nobody uses; 0 expects none."""
    if preferred and is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    if preferred:
        print(f"Port {preferred} is taken, so {port} is used.")
    return port


def is_free(port: int) -> bool:
    """Could a server listen there? A connection of a moment ago that is still fading away does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
