"""A browser made of HTTP requests: it keeps cookies, follows what a browser follows, and runs no script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from support import wire
from support.provider import Provider
from support.server import MlflowServer


class Browser:
    """One person's browser before one server.

    `public` is the address that people type when a TLS proxy stands in front of the server: the browser
    believes that it is there, and its requests arrive at the server as such a proxy forwards them. With a
    `way` there is a real proxy, and this is how its address is found.
    """

    def __init__(self, server: MlflowServer, public: str | None = None, way: wire.Way | None = None) -> None:
        self.server = server
        self.way = way
        self.local = server.origin
        self.origin = public or self.local
        self.cookies: dict[str, dict[str, str]] = {}
        self.answers: list[requests.Response] = []

    @property
    def cookie(self) -> str | None:
        """The value of our one cookie, as the browser holds it now."""
        (value,) = self.cookies.get(self.origin, {"": None}).values() or (None,)
        return value

    def address(self, path: str) -> str:
        return self.origin + path

    def open(self, url: str, **arguments: Any) -> requests.Response:
        """Types an address, or follows a link: one request, nothing followed."""
        return self.request(
            "GET", url, headers={**wire.NAVIGATION, **arguments.pop("headers", {})}, **arguments
        )

    def xhr(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """What a script of MLflow's own page sends."""
        headers = {**wire.XHR, **arguments.pop("headers", {})}
        if method not in ("GET", "HEAD"):
            headers.setdefault("Origin", self.origin)
        return self.request(method, self.address(self.server.prefix + path), headers=headers, **arguments)

    def submit(self, url: str, form: Mapping[str, str], **arguments: Any) -> requests.Response:
        """Sends a form from a page of the same origin."""
        origin = _origin(url)
        headers = {**wire.NAVIGATION, "Sec-Fetch-Site": "same-origin", "Origin": origin}
        return self.request("POST", url, headers={**headers, **arguments.pop("headers", {})}, data=form)

    def request(
        self, method: str, url: str, headers: Mapping[str, str], **arguments: Any
    ) -> requests.Response:
        origin = _origin(url)
        sent = dict(headers)
        target = url
        if origin == self.origin and self.way is not None:
            arguments["way"] = self.way
        elif origin == self.origin and self.origin != self.local:
            target = self.local + url[len(origin) :]
            sent |= {"Host": urlsplit(origin).netloc, "X-Forwarded-Proto": urlsplit(origin).scheme}
        jar = self.cookies.setdefault(origin, {})
        if jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        answer = wire.send(method, target, headers=sent, **arguments)
        if (cookie := wire.set_cookie(answer)) is not None:
            if cookie.value == "" or cookie["max-age"] == "0":
                jar.pop(cookie.key, None)
            else:
                jar[cookie.key] = cookie.value
        self.answers.append(answer)
        return answer

    def follow(self, answer: requests.Response, at: str) -> tuple[requests.Response, str]:
        """Goes on as long as a browser without scripts does by itself: to the provider's login form, say."""
        for _ in range(10):
            onward = goes_on_to(answer)
            if onward is None:
                return answer, at
            at = urljoin(at, onward)
            answer = self.open(at)
        raise AssertionError(f"it never ends: {at}")

    def start_login(self, path: str = "/") -> str:
        """Opens a page and ends at the provider's form; its address is returned."""
        at = self.address(self.server.prefix + path)
        answer, at = self.follow(self.open(at), at)
        assert urlsplit(at).path == "/oauth2/authorize", f"{at}: {answer.status_code} {answer.text[:800]}"
        return at

    def authorize(self, form_address: str, subject: str, action: str | None = None) -> str:
        """Says at the provider's form who is there; the callback's address is returned, not opened."""
        answer = self.submit(form_address, {"action": action} if action else {"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def login(self, provider: Provider, subject: str, path: str = "/") -> tuple[requests.Response, str]:
        """The whole way: (the last answer, its address)."""
        form = self.start_login(path)
        assert form.startswith(provider.issuer + "/"), form
        callback = self.authorize(form, subject)
        return self.follow(self.open(callback), callback)

    def session(self) -> dict[str, Any] | None:
        """What the server says about who is here, or None for nobody."""
        answer = self.xhr("GET", "/oidc/session")
        if answer.status_code == 401:
            wire.refusal(answer, 401)
            return None
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def signed_in(self) -> dict[str, Any]:
        said = self.session()
        assert said is not None, "nobody is signed in"
        return said

    def logout(self) -> requests.Response:
        return self.submit(self.address(self.server.prefix + "/oidc/logout"), {})


def goes_on_to(answer: requests.Response) -> str | None:
    """Where a browser without scripts goes from here: a redirect, or a refresh in the page's head."""
    if answer.status_code in (301, 302, 303, 307, 308):
        return answer.headers["Location"]
    if not answer.headers.get("Content-Type", "").startswith("text/html"):
        return None
    found = re.search(r"<meta[^>]+http-equiv=[\"']?refresh[\"']?[^>]*>", answer.text, re.IGNORECASE)
    if found is None:
        return None
    content = re.search(r"content=([\"'])(.*?)\1", found.group(0), re.IGNORECASE)
    assert content, found.group(0)
    address = re.search(r"url\s*=\s*(.+)", unescape(content.group(2)), re.IGNORECASE)
    return address.group(1).strip("'\" ") if address else None


def links(answer: requests.Response) -> list[str]:
    return [unescape(target) for _, target in re.findall(r"href=([\"'])(.*?)\1", answer.text)]


def query_of(url: str) -> dict[str, str]:
    """The query of an address, each member once."""
    members = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in members.values()), url
    return {name: values[0] for name, values in members.items()}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
