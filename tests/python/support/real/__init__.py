"""Real providers: what every one of them can do for the cases of tests/providers, and who the people are.

A provider is a class of its own in a file of this folder. What it cannot do stands in `lacks` with the
reason; the cases that need it are then shown in the table of docs/providers as 'not there', with that reason.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from playwright.sync_api import Page

from support import tokens, venvs

PROVIDERS = venvs.REPOSITORY / "build" / "providers"

# What a case may need, beside a login: the names that `lacks` may hold.
CAPABILITIES = {
    "groups": "tokens that carry groups",
    "set_groups": "groups that change while it runs",
    "user_token": "an access token that is a JWT for MLflow",
    "service_token": "a token of a service account, a JWT for MLflow",
    "rotate_keys": "a new signing key while it runs",
    "rp_logout": "RP-initiated logout",
    "backchannel": "back-channel logout",
    "public_client": "a public client with PKCE",
}

USERS, ADMINS = "MLFLOW", "MLFLOW_admin"


@dataclass(frozen=True)
class Person:
    """Somebody who exists at every provider, with the groups that they are in at the start of each test."""

    name: str
    groups: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"

    @property
    def password(self) -> str:
        """Nobody's secret: it opens an account of a provider that lives for a minute on loopback."""
        return f"password-of-{self.name}"


ALICE = Person("alice", (USERS, ADMINS))
BOB = Person("bob", (USERS,))
CAROL = Person("carol", ())
PEOPLE = (ALICE, BOB, CAROL)


@dataclass(frozen=True)
class Homes:
    """Where the MLflow servers of the tests will be: the provider has to know it before it starts."""

    confidential: str
    public: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.confidential, self.public))


class RealProvider(ABC):
    """A provider as a process on loopback. `start` it, then ask; `stop` ends it and everything it holds."""

    # What it is called in the table, in `tools/providers.py`, and in the names of the tests.
    name: str
    # The version that is shown in the table.
    version: str
    # What it cannot do, and why: names of `CAPABILITIES` and a reason each.
    lacks: ClassVar[Mapping[str, str]] = {}
    # The codes that somebody in no group may be refused with; a provider may leave the claim out for them.
    refusals_of_strangers: tuple[str, ...] = ("group_required",)
    issuer: str
    log: Path

    @property
    def brought(self) -> Path:
        """Where `tools/providers.py` has put it."""
        return PROVIDERS / self.name

    def require(self) -> None:
        """A provider that is not there is a clear skip for a developer, and never one for CI."""
        if not (self.brought / "made-from").exists():
            absent(f"no {self.name} in {PROVIDERS}: `make test-providers` puts it there")

    @abstractmethod
    def start(self) -> None:
        """Until it answers, with the people, their groups, and clients for all of the `Homes`."""

    @abstractmethod
    def stop(self) -> None:
        """All of its processes. Nothing of them may stay, whatever has happened."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """MLflow's environment for the confidential client, `OIDC_ISSUER_URL` and all."""

    def settings_of_public_client(self) -> dict[str, str]:
        """The same for a public client: no secret, PKCE only. Needs 'public_client'."""
        raise NotImplementedError(self.name)

    @abstractmethod
    def wait_for_form(self, page: Page) -> None:
        """Until the page shows the provider's own login form; fails when it does not."""

    @abstractmethod
    def sign_in(self, page: Page, person: Person) -> None:
        """Fills the provider's own login form, and whatever page it shows then, as that person would."""

    def sign_out(self, page: Page) -> None:
        """Ends the session at the provider itself, in the browser of that page. Needs 'backchannel'."""
        raise NotImplementedError(self.name)

    def confirm_sign_out(self, page: Page) -> None:  # noqa: B027
        """What a person does at the provider's own page after MLflow's sign-out; most have none."""

    def username(self, person: Person) -> str:
        """What that person is called in MLflow."""
        return person.email

    def set_groups(self, person: Person, groups: tuple[str, ...]) -> None:
        """From now on the person is in these of our groups, and in no other one. Needs 'set_groups'."""
        raise NotImplementedError(self.name)

    def user_token(self, person: Person) -> str:
        """An access token for MLflow, as a program of that person's gets it. Needs 'user_token'."""
        raise NotImplementedError(self.name)

    def service_token(self) -> str:
        """By client credentials; the service account is a member of `USERS`. Needs 'service_token'."""
        raise NotImplementedError(self.name)

    @property
    def service_username(self) -> str:
        """What that service account is called in MLflow."""
        raise NotImplementedError(self.name)

    def rotate_keys(self) -> None:
        """From now on a new key signs; the ones before are still published. Needs 'rotate_keys'."""
        raise NotImplementedError(self.name)

    def remove_old_keys(self) -> None:
        """Only the key that signs now is still published. Needs 'rotate_keys'."""
        raise NotImplementedError(self.name)

    def log_tail(self, lines: int = 60) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def absent(told: str) -> None:
    """A skip for a developer, a failure for CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


def token_answer(answer: requests.Response) -> dict[str, Any]:
    """What a token endpoint gave; every JWT in it is remembered, so that logs are searched for it."""
    assert answer.status_code == 200, f"{answer.request.url}: {answer.status_code} {answer.text[:800]}"
    given: dict[str, Any] = answer.json()
    for name in ("access_token", "id_token", "refresh_token"):
        if given.get(name):
            tokens.remember(given[name])
    return given
