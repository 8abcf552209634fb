"""Reading the table of refusals, `tests/vectors/rejects.json`, and what is expected of each row where.

The language of a row is described in `tests/vectors/README.md`. The pure core reads the same file; what is
not known here is an error, so that neither runner passes over what the other one tries.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support import venvs

Json = dict[str, Any]

_COMMON = "name at code status source settings before metadata drop_metadata answers only why http_server"
_TOKEN = "claims drop header drop_header header_text claims_text claims_prefix sign finish keys"
_ANSWER = "access_token token_answer drop_token_answer"
# Each place, and the members of a row that it has a use for beside those of every place.
PLACES = {
    "bearer": _TOKEN,
    "id_token": f"{_TOKEN} {_ANSWER}",
    "token_answer": f"{_TOKEN} {_ANSWER}",
    "refresh": f"{_TOKEN} {_ANSWER} userinfo drop_userinfo changes",
    "userinfo": f"{_TOKEN} {_ANSWER} userinfo drop_userinfo",
    "logout_token": _TOKEN,
    "keys": _TOKEN,
    "metadata": _TOKEN,
    "callback": "query",
    "cookie": "cookie cookie_finish request changes",
    "next": "next",
    "request": "request",
}
# What is expected at `next`: the guard gives the start page, and refuses nobody.
START_PAGE = "start_page"


@dataclass(frozen=True)
class Row:
    """One refusal. Each member is one of the file, under the same name."""

    name: str
    at: list[str]
    code: str
    source: str
    status: int | None = None
    settings: Json = field(default_factory=dict)
    before: list[list[Any]] = field(default_factory=list)
    claims: Json = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    header: Json = field(default_factory=dict)
    drop_header: list[str] = field(default_factory=list)
    header_text: str | None = None
    claims_text: str | None = None
    claims_prefix: str | None = None
    sign: Json = field(default_factory=lambda: {"key": "rsa"})
    finish: list[list[Any]] = field(default_factory=list)
    access_token: str | None = "opaque-access-token"
    keys: list[Json] | None = None
    metadata: Json = field(default_factory=dict)
    drop_metadata: list[str] = field(default_factory=list)
    answers: Json = field(default_factory=dict)
    token_answer: Json = field(default_factory=dict)
    drop_token_answer: list[str] = field(default_factory=list)
    userinfo: Json = field(default_factory=dict)
    drop_userinfo: list[str] = field(default_factory=list)
    query: Any = "code=good-code&state=${state}"
    request: Json = field(default_factory=dict)
    cookie: Any = "${cookie}"
    cookie_finish: list[list[Any]] = field(default_factory=list)
    next: Any = None
    changes: list[str] = field(default_factory=list)
    only: str | None = None
    why: str | None = None
    http_server: bool = False

    def prepared_by(self, name: str) -> bool:
        return any(called == name for called, *_ in self.before)

    def state(self) -> str:
        """What an engine and its issuer have to be like before this row: equal texts may share them."""
        lasting = {name: self.answers[name] for name in ("metadata", "keys") if name in self.answers}
        return json.dumps([self.settings, self.keys, self.metadata, self.drop_metadata, lasting])


_REQUIRED = ("name", "at", "code", "source")


def read(told: Json) -> Row:
    """One row, or an error that says what is wrong with it."""
    name = told.get("name", told)
    missing = [member for member in _REQUIRED if not told.get(member)]
    assert not missing, f"row {name}: without {missing}"
    strangers = [place for place in told["at"] if place not in PLACES]
    assert not strangers, f"row {name}: there is no place {strangers}"
    assert len(set(told["at"])) == len(told["at"]), f"row {name}: a place twice"
    for place in told["at"]:
        unread = set(told) - set(_COMMON.split()) - set(PLACES[place].split())
        assert not unread, f"row {name}: nobody reads {sorted(unread)} at {place}"
    assert told.get("only") in (None, "core", "http"), f"row {name}: only {told['only']}"
    assert ("only" in told) == ("why" in told), f"row {name}: 'only' and 'why' belong together"
    return Row(**told)


@functools.cache
def rows() -> tuple[Row, ...]:
    """The whole table."""
    path = venvs.REPOSITORY / "tests" / "vectors" / "rejects.json"
    return tuple(read(told) for told in json.loads(path.read_text())["rows"])


@dataclass(frozen=True)
class Refusal:
    """A row of the catalogue."""

    code: str
    status: int
    party: str


@functools.cache
def catalogue() -> dict[str, Refusal]:
    """Every refusal that there is, as it is documented; a test of the core holds that equal to the code."""
    page = (venvs.REPOSITORY / "docs" / "errors.md").read_text()
    found = re.findall(r"^\| `([a-z_]+)` \| (\d+) \| (\w+) \|", page, re.MULTILINE)
    return {code: Refusal(code, int(status), party) for code, status, party in found}


def _at_login(refusal: Refusal) -> int:
    """The provider handed the token over itself: the person cannot mend it by coming with a better one."""
    return 502 if refusal.code.startswith("token_") else refusal.status


def _at_refresh(refusal: Refusal) -> int:
    """Whatever is wrong with the answer, the browser has to go to the provider."""
    return 401


def _at_logout(refusal: Refusal) -> int:
    """Back-Channel Logout 1.0 section 2.8 knows one status for whatever is wrong with the token."""
    return 400 if refusal.party == "Caller" else refusal.status


_STATUS: dict[str, Callable[[Refusal], int]] = {
    "id_token": _at_login,
    "token_answer": _at_login,
    "userinfo": _at_login,
    "logout_token": _at_logout,
    "refresh": _at_refresh,
}


def expected_status(row: Row, place: str) -> int:
    if row.status is not None:
        return row.status
    if row.code in ("", START_PAGE):
        return 200
    refusal = catalogue()[row.code]
    return _STATUS[place](refusal) if place in _STATUS else refusal.status
