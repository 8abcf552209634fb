"""The cases inside Flask request contexts: how the requests look, which function, and what is right."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response
from werkzeug.datastructures import Authorization

import environs
import functions
import keys

ALICE = keys.username(keys.SUBJECT)
# How many calls MLflow may make in one request, and then some.
CALLS = 12


class Wrong(Exception):
    """A function gave another answer than the right one: nothing of it is timed."""


@dataclass(frozen=True)
class Case:
    """One row. `requests` never ends; each is made before it is timed."""

    function: functions.Function
    requests: Iterator[dict[str, Any]]
    check: Callable[[Any], None]
    calls: int = 1
    # What has to be so before a round, outside the timed part.
    before: Callable[[], None] = lambda: None


def is_user(name: str) -> Callable[[Any], None]:
    def check(answer: Any) -> None:
        if not isinstance(answer, Authorization) or answer.username != name:
            raise Wrong(f"expected {name}, found {described(answer)}")

    return check


def is_refused(answer: Any) -> None:
    if not isinstance(answer, Response) or answer.status_code != 401:
        raise Wrong(f"expected a 401, found {described(answer)}")


def described(answer: Any) -> str:
    if isinstance(answer, Response):
        return f"{answer.status} {answer.get_data(as_text=True)[:300]}"
    return repr(answer)


class Requests:
    """Makes the requests of every case from the provider's keys."""

    def __init__(self, issuer: str, signing: dict[str, keys.Key]) -> None:
        self._issuer = issuer
        self._signing = signing
        self._numbers = itertools.count()
        self.remembered = self.token()

    def token(self, algorithm: str = "RS256", **changes: Any) -> str:
        return self._signing[algorithm].token(keys.claims(self._issuer, **changes))

    def same(self, **headers: str) -> Iterator[dict[str, Any]]:
        while True:
            yield environs.environ(**headers)

    def fresh(self, make: Callable[[], str]) -> Iterator[dict[str, Any]]:
        while True:
            yield environs.environ(**environs.bearer(make()))

    def never_seen(self, algorithm: str) -> Iterator[dict[str, Any]]:
        return self.fresh(lambda: self.token(algorithm))

    def bad_signature(self) -> Iterator[dict[str, Any]]:
        return self.fresh(lambda: keys.tampered(self.token()))

    def expired(self) -> Iterator[dict[str, Any]]:
        return self.fresh(lambda: self.token(exp=1_700_000_000, iat=1_699_999_000))

    def wrong_audience(self) -> Iterator[dict[str, Any]]:
        return self.fresh(lambda: self.token(aud="another-client", azp="another-client"))

    def newcomers(self) -> Iterator[dict[str, Any]]:
        """Each of somebody whom nobody has seen."""
        while True:
            name = f"new-{next(self._numbers)}"
            token = self.token(
                subject=name, email=keys.username(name), preferred_username=name, algorithm="EdDSA"
            )
            yield environs.environ(**environs.bearer(token))


def is_newcomer(answer: Any) -> None:
    if not isinstance(answer, Authorization) or not (answer.username or "").startswith("new-"):
        raise Wrong(f"expected a new user, found {described(answer)}")
