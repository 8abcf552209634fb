"""Requests of somebody who needs nothing of the provider, and how long each is waited for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests

from support import wire
from support.bench import EXPERIMENTS
from support.browser import Browser
from support.misbehaving import MisbehavingProvider

ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/missing"
TRACES = "/v1/traces"
# Whom these requests are of: nobody of the storm.
WHO = "bob"
# What MLflow answers to somebody whom we let through: it has no such artifact, and no use for an empty trace.
LET_THROUGH = {EXPERIMENTS: (200,), ARTIFACT: (404, 500), TRACES: (400, 415, 422)}


@dataclass(frozen=True)
class Probe:
    """One kind of request, with the credentials that it takes one after the other."""

    name: str
    method: str
    path: str
    credentials: list[Mapping[str, str]]

    @property
    def statuses(self) -> tuple[int, ...]:
        return LET_THROUGH[self.path]


@dataclass
class Taken:
    """What became of the requests of one probe."""

    milliseconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def probes(
    provider: MisbehavingProvider, browser: Browser, token: str, never_seen: int, modern: bool
) -> list[Probe]:
    """For a browser and a token that the server knows; `never_seen` tokens of each kind are unknown to it."""
    session = [{**wire.XHR, **cookie(browser)}]
    remembered = [bearer(token)]

    def new() -> list[Mapping[str, str]]:
        return [bearer(provider.bearer(WHO)) for _ in range(never_seen)]

    found = [
        Probe("Flask, remembered bearer", "GET", EXPERIMENTS, remembered),
        Probe("Flask, never-seen bearer", "GET", EXPERIMENTS, new()),
        Probe("Flask, session", "GET", EXPERIMENTS, session),
    ]
    if modern:
        found += [
            Probe("native GET, remembered bearer", "GET", ARTIFACT, remembered),
            Probe("native GET, never-seen bearer", "GET", ARTIFACT, new()),
            Probe("native GET, session", "GET", ARTIFACT, session),
            Probe("native POST, remembered bearer", "POST", TRACES, remembered),
        ]
    return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(browser: Browser) -> dict[str, str]:
    pairs = browser.cookies[browser.origin].items()
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in pairs)}


class Asking:
    """Sends the probes in turn, each kind on a connection of its own, which it keeps."""

    def __init__(self, url: str, chosen: list[Probe]) -> None:
        self._url, self._probes = url, chosen
        self._sessions = {probe.name: _session() for probe in chosen}
        self._credentials: dict[str, Iterator[Mapping[str, str]]] = {
            probe.name: itertools.cycle(probe.credentials) for probe in chosen
        }

    def ask(self, seconds: float, pause: float = 0.002) -> dict[str, Taken]:
        """For so many seconds; with a pause, since nobody asks without one."""
        taken = {probe.name: Taken() for probe in self._probes}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for probe in self._probes:
                self._one(probe, taken[probe.name])
                time.sleep(pause)
        return taken

    def _one(self, probe: Probe, taken: Taken) -> None:
        headers: dict[str, Any] = dict(next(self._credentials[probe.name]))
        started = time.perf_counter()
        answer = self._sessions[probe.name].request(
            probe.method, self._url + probe.path, headers=headers, timeout=60, allow_redirects=False
        )
        taken.milliseconds.append((time.perf_counter() - started) * 1000)
        if answer.status_code not in probe.statuses:
            taken.refused.append(f"{probe.name}: {answer.status_code} {answer.text[:300]}")


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    # Ours stands in the header, and a jar would add what an answer sets.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session
