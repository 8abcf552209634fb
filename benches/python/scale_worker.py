"""One process of the layer `scale`: who is asked about has as many groups as a big company gives somebody."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import environs
import keys
from cases import ALICE, Case, Requests, is_newcomer, is_user
from worker import Worker, held, own_output, serve


class Grouped(Requests):
    """Every token tells so many groups."""

    def __init__(self, made: Requests, groups: list[str]) -> None:
        self.__dict__.update(made.__dict__)
        self._groups = groups
        self.remembered = self.token()

    def token(self, algorithm: str = "RS256", **changes: Any) -> str:
        return super().token(algorithm, **{"groups": self._groups, **changes})


class ScaleWorker(Worker):
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.requests = Grouped(self.requests, settings["groups"])
        self._cookies: list[str] = []

    def _cases(self) -> dict[str, Case]:
        make, alice = self.requests, is_user(ALICE)
        remembered = environs.bearer(make.remembered)
        self.answer(environs.environ(**remembered), self.ours, alice)
        session = environs.cookie(self.sign_in())
        self.answer(environs.environ(**session), self.ours, alice)
        return {
            "remembered bearer": Case(self.ours, make.same(**remembered), alice),
            "session": Case(self.ours, make.same(**session), alice),
            "bearer never seen": Case(self.ours, make.never_seen("RS256"), alice),
            "first sight of a user": Case(self.ours, make.newcomers(), is_newcomer),
        }

    def token_size(self) -> int:
        """Bytes of a bearer."""
        return len(self.requests.remembered)

    def logins(self, count: int) -> list[int]:
        """Nanoseconds of each whole login: sign-in page, provider, callback with the exchange of the code."""
        samples = []
        for _ in range(count):
            begin = time.perf_counter_ns()
            self.sign_in()
            samples.append(time.perf_counter_ns() - begin)
        return samples

    def people_remembered(self, count: int, begin: int) -> dict[str, float]:
        """Bytes for each of `count` people who are seen for the second time, by a token of each."""
        for place in range(begin, begin + 500):
            self._see(place)
        before = held()
        for place in range(begin + 500, begin + 500 + count):
            self._see(place)
        return {name: (number - before[name]) / count for name, number in held().items()}

    def _see(self, place: int) -> None:
        name = f"person-{place}"
        told = {"subject": name, "email": keys.username(name), "preferred_username": name}
        # In an order of its own for everybody would share nothing; this is what a provider sends.
        request = environs.environ(**environs.bearer(self.requests.token("EdDSA", **told)))
        self.answer(request, self.ours, is_user(keys.username(name)))

    def sessions_remembered(self, count: int) -> dict[str, float]:
        """Bytes for each of `count` sessions that are read and remembered."""
        cookies = [self.sign_in() for _ in range(count + 100)]
        requests = (environs.environ(**environs.cookie(cookie)) for cookie in cookies)
        self._all(itertools.islice(requests, 100))
        before = held()
        self._all(requests)
        return {name: (number - before[name]) / count for name, number in held().items()}

    def _all(self, requests: Iterator[dict[str, Any]]) -> None:
        for request in requests:
            self.answer(request, self.ours, is_user(ALICE))


if __name__ == "__main__":
    output = own_output()
    serve(ScaleWorker(json.loads(sys.argv[1])), sys.stdin, output)
