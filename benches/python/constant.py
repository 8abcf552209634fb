"""The constant function as `basic_auth.ini` names it; it imports no more than it needs."""

from __future__ import annotations

from werkzeug.datastructures import Authorization

_ALICE = Authorization("basic", {"username": "alice@example.org"})


def authenticate_request() -> Authorization:
    return _ALICE
