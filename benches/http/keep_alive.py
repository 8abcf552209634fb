"""What a kept connection costs on `mlflow server` with one, two and four workers, without uvloop and with it.

`make bench-keep-alive` prints the table of docs/tuning.md. Each row is a real server and a client on loopback
that sends REQUESTS small requests one after the other: the median of them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

from support import venvs
from support.misbehaving import MisbehavingProvider
from support.server import MlflowServer, settings_for

REQUESTS = 100
ENVIRONMENTS = {"asyncio (as installed)": "3.17.2", "uvloop": "3.17.2-uvloop"}
WORKERS = (1, 2, 4)
GET = "/api/2.0/mlflow/experiments/get?experiment_id=0"
POST = "/api/2.0/mlflow/experiments/search"
NATIVE = "/v1/traces"
COLUMNS = ("TCP_NODELAY", "GET", "POST", "native POST", "`log_metric`", "GET, new connection")


def main() -> None:
    """One server after the other: so many at once would wait for each other."""
    provider = MisbehavingProvider()
    print(f"Milliseconds, median of {REQUESTS} requests:\n")
    print(f"| event loop | workers | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}")
    for loop, version in ENVIRONMENTS.items():
        for workers in WORKERS:
            with tempfile.TemporaryDirectory() as folder:
                cells = measure(provider, version, workers, Path(folder))
            print(f"| {loop} | {workers} | {' | '.join(cells)} |", flush=True)


def measure(provider: MisbehavingProvider, version: str, workers: int, folder: Path) -> list[str]:
    """One row of the table."""
    server = MlflowServer(
        version,
        folder,
        settings=settings_for(provider.issuer, PYTHONPATH=str(venvs.PROGRAMS)),
        workers=workers,
        function="sockets:authenticate_request",
    )
    try:
        server.start()
        token = provider.bearer()
        headers = {"Authorization": f"Bearer {token}"}
        # Every worker imports its half of MLflow at its first request.
        for _ in range(10 * workers):
            server.call("GET", GET, token=token)
            server.call("POST", NATIVE, token=token)
        with connection() as kept:
            took = [
                median(lambda: kept.get(server.url + GET, headers=headers)),
                median(lambda: kept.post(server.url + POST, headers=headers, json={"max_results": 1})),
                # MLflow has no use for a trace without content: a small answer from its event loop.
                median(lambda: kept.post(server.url + NATIVE, headers=headers)),
            ]
            (nodelay,) = kept.get(server.url + "/test/sockets").json()["nodelay"]
        took.append(of_the_client(server, token, folder))
        took.append(median(lambda: once(server.url + GET, headers)))
    finally:
        server.stop()
    return ["on" if nodelay else "off", *(f"{milliseconds:.1f}" for milliseconds in took)]


def connection() -> requests.Session:
    session = requests.Session()
    # No proxy and no netrc of this machine.
    session.trust_env = False
    return session


def once(url: str, headers: dict[str, str]) -> requests.Response:
    with connection() as session:
        return session.get(url, headers=headers)


def median(send: Callable[[], requests.Response]) -> float:
    took = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        answer = send()
        took.append((time.perf_counter() - started) * 1000)
        assert answer.status_code in (200, 400), f"{answer.status_code} {answer.text}"
    return statistics.median(took)


def of_the_client(server: MlflowServer, token: str, folder: Path) -> float:
    """MLflow's own client, in a process of its own."""
    script = Path(__file__).parent / "log_metrics.py"
    variables = {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_TRACKING_TOKEN": token}
    return float(venvs.output(server.version, str(script), str(REQUESTS), home=folder, **variables))


if __name__ == "__main__":
    main()
