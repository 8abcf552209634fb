"""A server on each of two MLflow versions, and a provider with TLS for each: for tables of faults."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support import certificates
from support.browser import Browser
from support.certificates import Certificate
from support.engines import Engines
from support.misbehaving import Exchange, Listener, MisbehavingProvider
from support.server import MakeServer, MlflowServer, settings_for

# Where nothing but Flask stands before us, and where an event loop does.
VERSIONS = ("2.9.2", "3.17.2")
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
TIMEOUT = 2
# What a request may take beyond the time-out on a busy machine.
ALLOWANCE = 1.5


class Stranger:
    """Somebody at a port who speaks no TLS."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._listener = Listener(serve)
        self.issuer = f"https://127.0.0.1:{self._listener.port}"
        self.seen: list[Exchange] = []


def _speak_plainly(stream: socket.socket) -> None:
    stream.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _listen(stream: socket.socket) -> None:
    while stream.recv(65536):
        pass


class Bench:
    """One version's server, its provider, and the strangers that it must not trust."""

    def __init__(self, make: MakeServer, version: str, folder: Path, **arguments: Any) -> None:
        self.authority = ours = certificates.authority("the company's authority")
        self.bundle = folder / f"bundle-{version}.pem"
        self.bundle.write_bytes(ours.pem())
        good = ours.issue().server_context()
        self.provider = MisbehavingProvider(good)
        # Another origin by its port alone, with a certificate that holds.
        self.other = MisbehavingProvider(good)
        self.plain = MisbehavingProvider()
        self.strangers: dict[str, MisbehavingProvider | Stranger] = {
            name: MisbehavingProvider(certificate.server_context())
            for name, certificate in _bad_certificates(ours).items()
        }
        self.strangers["no TLS"] = Stranger(_speak_plainly)
        self.strangers["a handshake without end"] = Stranger(_listen)
        self.engines = Engines(make, version, self.provider.issuer, wait=False, **arguments)
        self._log_at = 0

    @property
    def server(self) -> MlflowServer:
        return self.engines.server

    def fresh(self, issuer: str | None = None, **more: str) -> None:
        """A new engine; what the log says from here on is of its time."""
        settings = settings_for(
            issuer or self.provider.issuer,
            OIDC_CA_BUNDLE=str(self.bundle),
            OIDC_HTTP_TIMEOUT=str(TIMEOUT),
        )
        self.engines.fresh({name: value for name, value in {**settings, **more}.items() if value})
        self._log_at = len(self.server.log_text())

    def log(self) -> str:
        """What has been logged since the engine is there."""
        return self.server.log_text()[self._log_at :]

    def login(self, provider: MisbehavingProvider | None = None, subject: str = "alice") -> Browser:
        """A whole login that has to work."""
        browser = Browser(self.server)
        answer = browser.open((provider or self.provider).begin_login(browser, subject))
        assert answer.status_code == 302, f"{answer.status_code} {answer.text}"
        assert browser.signed_in()["username"] == f"{subject}@example.org"
        return browser

    @contextlib.contextmanager
    def memory_bounded(self, megabytes: int) -> Iterator[None]:
        """The worker never needs more than that beside what it has."""
        (pid,) = self.server.worker_pids()
        # The peak is counted from here on (proc(5), clear_refs).
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = _status(pid, "VmRSS")
        yield
        grown = (_status(pid, "VmHWM") - before) / 1024
        assert grown < megabytes, f"{grown:.0f} MB more"


def _bad_certificates(ours: Certificate) -> Mapping[str, Certificate]:
    return {
        "a self-signed certificate": certificates.self_signed(),
        "a certificate of an unknown authority": certificates.authority("somebody").issue(),
        "a certificate for another host": ours.issue(names=certificates.ELSEWHERE),
        "an expired certificate": ours.issue(valid=certificates.EXPIRED),
    }


def _status(pid: int, name: str) -> int:
    """A number of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def both(make: MakeServer, folder: Path, arguments: Mapping[str, Any] | None = None) -> list[Bench]:
    """Started at the same time, since starting takes long; with arguments for the server of a version."""
    benches = [Bench(make, version, folder, **(arguments or {}).get(version, {})) for version in VERSIONS]
    for bench in benches:
        bench.server.wait_until_ready()
    return benches


def both_with_threads(make: MakeServer, folder: Path) -> list[Bench]:
    """The old MLflow with threads: a worker process of one thread serves nobody beside one who waits."""
    with_threads = ["--host", "127.0.0.1", "--workers", "1", "--gunicorn-opts", "--threads=40"]
    with_threads += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
    return both(make, folder, {"2.9.2": {"arguments": with_threads}})


def on_each(benches: list[Bench], row: Any) -> list[Any]:
    """The same row on every bench at once, since nearly all of its time is waiting."""
    with ThreadPoolExecutor(len(benches)) as pool:
        futures = [(bench, pool.submit(row, bench)) for bench in benches]
    results = []
    for bench, future in futures:
        try:
            results.append(future.result())
        except AssertionError as fault:
            raise AssertionError(f"on MLflow {bench.server.version}: {fault}") from fault
    return results


class Timed:
    """How long a block took; not longer than the time-out and a little."""

    def __enter__(self) -> Timed:
        self._started = time.monotonic()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.seconds = time.monotonic() - self._started
        assert kind is not None or self.seconds < TIMEOUT + ALLOWANCE, f"it took {self.seconds:.1f} s"
