"""A login without a browser: the hops that a browser makes, one request each."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import requests

# (path with query, headers) -> (status, headers)
Fetch = Callable[[str, dict[str, str]], tuple[int, Any]]
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}


class NoLogin(Exception):
    """A hop that did not lead on."""


def ours(fetch: Fetch) -> str:
    return through(fetch, "/oidc/login?next=%2F&go=1")


def rivals(fetch: Fetch) -> str:
    return through(fetch, "/login")


def through(fetch: Fetch, begin: str) -> str:
    """The cookies after the way from `begin` through the provider and back, as one header."""
    jar: dict[str, str] = {}
    to_provider = _hop(fetch, begin, jar)
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(to_provider, allow_redirects=False, timeout=10)
    if answer.status_code != 302:
        raise NoLogin(f"{to_provider}: {answer.status_code} {answer.text[:300]}")
    back = urlsplit(answer.headers["Location"])
    _hop(fetch, f"{back.path}?{back.query}", jar)
    if not jar:
        raise NoLogin("no cookie at the end of the login")
    return _header(jar)


def _hop(fetch: Fetch, target: str, jar: dict[str, str]) -> str:
    status, headers = fetch(target, {**NAVIGATION, **({"Cookie": _header(jar)} if jar else {})})
    if status not in (302, 303, 307):
        raise NoLogin(f"{target.partition('?')[0]}: {status}")
    for line in headers.getlist("Set-Cookie"):
        for name, morsel in SimpleCookie(line).items():
            jar[name] = morsel.value
    return str(headers["Location"])


def _header(jar: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in jar.items())
