"""A real nginx with the documented configuration, as a process of its own in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from support import certificates, ports, processes, venvs, wire

NAME = "mlflow.example.com"
PREFIX = "/mlflow"
PUBLIC = f"https://{NAME}{PREFIX}"
DOCUMENTED = venvs.REPOSITORY / "examples" / "nginx" / "mlflow.conf"


def program() -> str:
    """Where nginx is: a missing one is a clear skip for a developer, and never one for CI."""
    # Debian keeps it where only root's path leads.
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is not None:
        return found
    told = "no nginx: `apt-get install nginx-light` puts it there"
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


class Nginx:
    """Before two servers or more, under a name that no resolver knows; `way` leads there."""

    def __init__(
        self, folder: Path, upstreams: tuple[int, ...], changes: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.port = folder, ports.free()
        self._ports = upstreams
        authority = certificates.authority("the company's authority")
        issued = authority.issue(names=(x509.DNSName(NAME),))
        (folder / "authority.pem").write_bytes(authority.pem())
        (folder / "server.pem").write_bytes(issued.pem())
        (folder / "server.key").write_bytes(
            issued.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.way = wire.Way(NAME, self.port, str(folder / "authority.pem"))
        (folder / "mlflow.conf").write_text(self._filled_in(upstreams, changes or {}))
        (folder / "nginx.conf").write_text(self._around())
        self._process: subprocess.Popen[bytes] | None = None

    def _filled_in(self, upstreams: tuple[int, ...], changes: Mapping[str, str]) -> str:
        """The documented file with what is the reader's own; whatever is filled in has to be in it."""
        text = DOCUMENTED.read_text()
        own = {
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/nginx/tls/mlflow.pem": str(self.folder / "server.pem"),
            "/etc/nginx/tls/mlflow.key": str(self.folder / "server.key"),
            "server 127.0.0.1:5000;": f"server 127.0.0.1:{upstreams[0]};",
            "server 127.0.0.1:5001;": " ".join(f"server 127.0.0.1:{port};" for port in upstreams[1:]),
            **changes,
        }
        for written, wanted in own.items():
            assert text.count(written) == 1, f"{DOCUMENTED}: {written!r}"
            text = text.replace(written, wanted)
        return text

    def _around(self) -> str:
        places = "\n".join(
            f"    {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Started by root, the worker would be a user who may not enter the tests' folders.
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        return f"""
daemon off;
{user}
worker_processes 1;
pid {self.folder}/nginx.pid;
events {{}}
http {{
{places}
    access_log {self.folder}/access.log;
    # Which of the servers has answered; only the tests want to know.
    add_header X-Upstream $upstream_addr always;
    include {self.folder}/mlflow.conf;
}}
"""

    @property
    def errors(self) -> str:
        return (self.folder / "error.log").read_text()

    def start(self) -> Nginx:
        command = [program(), "-p", str(self.folder), "-e", str(self.folder / "error.log")]
        self._process = subprocess.Popen(
            [*command, "-c", str(self.folder / "nginx.conf")],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 20
        while not processes.listeners(self.port):
            assert self._process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self._process is not None:
            processes.end_group(self._process)
            self._process = None

    def call(self, method: str, path: str, **arguments: object) -> requests.Response:
        """`path` is below the public address."""
        return wire.send(method, PUBLIC + path, way=self.way, **arguments)  # type: ignore[arg-type]

    def next_is(self, port: int) -> None:
        """Whoever asks next is answered by this server: nginx takes them in turn."""
        before = self._ports[self._ports.index(port) - 1]
        for _ in range(2 * len(self._ports)):
            if answered_by(self.call("GET", "/health")) == before:
                return
        raise AssertionError("the server before it never answered")


def answered_by(answer: requests.Response) -> int:
    """The port of the server that nginx has the answer from."""
    return int(answer.headers["X-Upstream"].rpartition(":")[2])


@contextmanager
def running(
    folder: Path, upstreams: tuple[int, ...], changes: Mapping[str, str] | None = None
) -> Iterator[Nginx]:
    made = Nginx(folder, upstreams, changes)
    try:
        yield made.start()
    finally:
        made.stop()
