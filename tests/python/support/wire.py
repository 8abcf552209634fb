"""One HTTP request, and what must hold for every answer of a server that we guard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.cookies import Morsel, SimpleCookie
from typing import Any

import requests
import requests.adapters
import urllib3

from support import tokens

COOKIE_NAMES = {"mlflow_oidc", "__Host-mlflow_oidc", "__Secure-mlflow_oidc"}

# What Chromium sends when somebody types an address, and what a page's script sends.
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
}
XHR = {
    "Accept": "*/*",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "User-Agent": NAVIGATION["User-Agent"],
}


class Way(requests.adapters.HTTPAdapter):
    """What a resolver does: a public name leads to a port here, and the certificate is the name's."""

    def __init__(self, name: str, port: int, authority: str) -> None:
        self._name, self._port, self.authority = name, port, authority
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=self._name, assert_hostname=self._name, **named)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:
        assert request.url is not None
        asked = request.url
        there = urllib3.util.parse_url(asked)
        assert there.host == self._name, asked
        request.headers.setdefault("Host", there.netloc or "")
        request.url = there._replace(host="127.0.0.1", port=self._port).url
        answer = super().send(request, *arguments, **named)
        request.url = answer.url = asked
        return answer


def send(
    method: str,
    url: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
    way: Way | None = None,
    **arguments: Any,
) -> requests.Response:
    """One request on a connection of its own, no redirect followed, no proxy, no cookie jar, no netrc."""
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    with requests.Session() as session:
        session.trust_env = False
        if way is not None:
            session.mount("https://", way)
            session.verify = way.authority
        answer = session.request(
            method, url, headers=sent, timeout=timeout, allow_redirects=False, **arguments
        )
    check(answer, sent)
    return answer


def every(answer: requests.Response, name: str) -> list[str]:
    """Each header of that name; requests itself would join them into one."""
    values: list[str] = answer.raw.headers.getlist(name)
    return values


def set_cookie(answer: requests.Response) -> Morsel[str] | None:
    headers = every(answer, "Set-Cookie")
    if not headers:
        return None
    jar: SimpleCookie = SimpleCookie(headers[0])
    assert len(jar) == 1, headers
    return next(iter(jar.values()))


def check(answer: requests.Response, sent: Mapping[str, str]) -> None:
    """The rules that have no exception, on any path, in any state of the provider or the settings."""
    told = f"{answer.request.method} {answer.request.url} -> {answer.status_code} {dict(answer.headers)}"
    cookies = every(answer, "Set-Cookie")
    assert len(cookies) <= 1, f"more than one Set-Cookie: {told}"
    challenges = every(answer, "WWW-Authenticate")
    assert len(challenges) <= 1, f"more than one WWW-Authenticate: {told}"
    if answer.status_code == 401:
        assert challenges, f"401 without WWW-Authenticate: {told}"
    if any(name.lower() == "authorization" for name in sent):
        assert not cookies, f"a cookie in answer to an Authorization header: {told}"
    if (cookie := set_cookie(answer)) is not None and cookie.key in COOKIE_NAMES:
        assert cookie["httponly"] is True, told
        assert cookie["samesite"].lower() == "lax", told
        assert cookie["domain"] == "", told
        assert len(cookies[0]) < 4000, f"browsers drop a cookie of this length: {told}"
        assert_unreadable(cookie.value)
    if answer.status_code >= 400:
        text = answer.text
        for token in tuple(tokens.MINTED):
            assert token not in text, f"a token in the page: {told}"


def assert_unreadable(value: str) -> None:
    """A sealed value: no token in it, and no JSON, e-mail address or URL however it is decoded."""
    assert not tokens.JWT.search(value), "a JWT can be read in the cookie"
    for part in (value, *value.split(".")):
        for text in (part, _decoded(part)):
            for word in ('"sub"', '"nonce"', '"iss"', "@example", "http://", "https://", "MLFLOW"):
                assert word not in text, f"{word!r} can be read in the cookie"


def _decoded(text: str) -> str:
    try:
        return tokens.decode_base64(text.replace("+", "-").replace("/", "_")).decode("latin-1")
    except ValueError:
        return ""


def refusal(answer: requests.Response, status: int, *codes: str) -> dict[str, Any]:
    """The JSON of a refusal, after checking the form that MLflow's client and people need."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"].startswith("application/json"), answer.headers
    said: dict[str, Any] = json.loads(answer.text)
    expected = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 503: "TEMPORARILY_UNAVAILABLE"}
    assert said["error_code"] == expected.get(status, said["error_code"]), said
    assert said["message"], said
    assert "\n" not in said["message"], said
    assert not codes or said["code"] in codes, said
    if status == 401:
        (challenge,) = every(answer, "WWW-Authenticate")
        assert challenge.startswith("Bearer "), challenge
    if status == 503:
        assert int(answer.headers["Retry-After"]) > 0
    return said
