"""The whole requests that are measured, the same in process and over HTTP."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import environs

# Of the run that `seed.py` makes: the folder of the bench has its id.
EXPERIMENT = "0"
METRICS_BEFORE = 20


@dataclass(frozen=True)
class Page:
    """One request: method, target, body, and what a right answer has in it."""

    method: str
    target: str
    has: str
    body: Callable[[], bytes] = lambda: b""
    # Served by FastAPI alone: there is no WSGI for it.
    native: bool = False


def pages(run: str) -> dict[str, Page]:
    """By name; `run` is the id of the seeded run."""
    numbers = itertools.count()

    def metric() -> bytes:
        now = int(time.time() * 1000)
        told = {"run_id": run, "key": "loss", "value": 0.5, "timestamp": now, "step": next(numbers)}
        return json.dumps(told).encode()

    searched = json.dumps({"experiment_ids": [EXPERIMENT], "max_results": 10}).encode()
    api = "/api/2.0/mlflow"
    artifact = f"/api/2.0/mlflow-artifacts/artifacts/{EXPERIMENT}/{run}/artifacts/note.txt"
    return {
        "experiments/get": Page(
            "GET", f"{api}/experiments/get?experiment_id={EXPERIMENT}", "lifecycle_stage"
        ),
        "runs/log-metric": Page("POST", f"{api}/runs/log-metric", "{", metric),
        "runs/search": Page("POST", f"{api}/runs/search", run, lambda: searched),
        "GET /": Page("GET", "/", "<html"),
        "users/current": Page("GET", f"{api}/users/current", "@example.org"),
        "artifact (native)": Page("GET", artifact, "a note", native=True),
    }


# Without auth there is no current user.
LEFT_OUT = {("no auth", "users/current")}


def headers(authorization: str | None, cookie: str | None) -> dict[str, str]:
    """As MLflow's client sends them, or a page of MLflow's where there is a cookie."""
    if cookie is None:
        sent = {"User-Agent": environs.PROGRAM["HTTP_USER_AGENT"], "Accept": "*/*"}
        return {**sent, "Authorization": authorization} if authorization else sent
    names = ("USER_AGENT", "ACCEPT", "ACCEPT_LANGUAGE", "SEC_FETCH_DEST", "SEC_FETCH_MODE", "SEC_FETCH_SITE")
    sent = {name.replace("_", "-").title(): environs.PAGE[f"HTTP_{name}"] for name in names}
    return {**sent, "Cookie": cookie}
