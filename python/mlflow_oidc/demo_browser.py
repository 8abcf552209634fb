"""A browser without a screen, for the demo's own check: cookies, redirects, links, forms and fetch metadata.

Only the standard library, because the wheel depends on nothing.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urljoin, urlsplit

from mlflow_oidc.demo_servers import DemoError, Servers

MOST_REDIRECTS = 10
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, and the redirects that led to it."""

    url: str
    status: int
    headers: Message[str, str]
    body: bytes
    hops: tuple[Answer, ...] = ()

    @property
    def path(self) -> str:
        """Path and query of where we are."""
        parts = urlsplit(self.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    @property
    def text(self) -> str:
        """The body for people."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The body for programs, or nothing where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def link(self, part: str) -> str:
        """The address of the first link whose target holds this."""
        for target in _links(self.text):
            if part in target:
                return urljoin(self.url, target)
        raise LookupError(f"no link with {part!r} on the page {self.url} ({self.status})")


@dataclass
class Browser:
    """One person's browser. It sends what a real one does, by which servers tell a page from an API call."""

    cookies: CookieJar = field(default_factory=CookieJar)
    most_cookies_set: int = 0

    def open(self, url: str, *, coming_from: str | None = None) -> Answer:
        """A page: by the address bar, or by a link on another page."""
        return self._navigate(urllib.request.Request(url), coming_from)

    def submit(self, page: Answer, fields: dict[str, str], url: str | None = None) -> Answer:
        """A form of this page, sent to the page itself unless it says otherwise."""
        data = urlencode(fields).encode()
        request = urllib.request.Request(url or page.url, data=data, headers={"Origin": _origin(page.url)})
        return self._navigate(request, page.url)

    def call(self, url: str) -> Answer:
        """What the script of a page asks of its own server."""
        metadata = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}
        return self._send(urllib.request.Request(url, headers={"Accept": "application/json", **metadata}))

    def _navigate(self, request: urllib.request.Request, coming_from: str | None) -> Answer:
        hops: list[Answer] = []
        while True:
            request.add_header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            request.add_header("Sec-Fetch-Mode", "navigate")
            request.add_header("Sec-Fetch-Dest", "document")
            request.add_header("Sec-Fetch-User", "?1")
            request.add_header("Sec-Fetch-Site", _site(coming_from, request.full_url))
            answer = self._send(request)
            target = answer.headers.get("Location")
            if answer.status not in (301, 302, 303) or target is None:
                return Answer(answer.url, answer.status, answer.headers, answer.body, tuple(hops))
            hops.append(answer)
            if len(hops) > MOST_REDIRECTS:
                raise RuntimeError(f"more than {MOST_REDIRECTS} redirects, the last one to {target}")
            request = urllib.request.Request(urljoin(answer.url, target))

    def _send(self, request: urllib.request.Request) -> Answer:
        answer = _exchange(request, urllib.request.HTTPCookieProcessor(self.cookies))
        self.most_cookies_set = max(self.most_cookies_set, len(answer.headers.get_all("Set-Cookie") or []))
        return answer


def plain(url: str, *, data: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """What a program sends: no cookies, no fetch metadata, no redirects followed."""
    return _exchange(urllib.request.Request(url, data=data, headers=headers or {}))


def id_token(servers: Servers, subject: str) -> str:
    """A real token of the provider, by the code flow of MLflow's own client; its access tokens are opaque."""
    metadata = plain(f"{servers.provider}/.well-known/openid-configuration").json
    redirect_uri = f"{servers.mlflow}/oidc/callback"
    query = {
        "response_type": "code",
        "client_id": servers.client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid profile email",
    }
    consent = plain(
        f"{metadata['authorization_endpoint']}?{urlencode(query)}", data=urlencode({"sub": subject}).encode()
    )
    code = parse_qs(urlsplit(consent.headers.get("Location") or "").query).get("code")
    if not code:
        raise DemoError(f"The provider gave no code for {subject}: {consent.status} {consent.text[:200]}")
    # Both halves are form-encoded before they are joined (RFC 6749, 2.3.1).
    pair = f"{quote_plus(servers.client_id)}:{quote_plus(servers.client_secret)}"
    answer = plain(
        metadata["token_endpoint"],
        data=urlencode(
            {"grant_type": "authorization_code", "code": code[0], "redirect_uri": redirect_uri}
        ).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
    )
    if answer.status != 200:
        raise DemoError(f"The provider gave no token for {subject}: {answer.status} {answer.text[:200]}")
    return str(answer.json["id_token"])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are followed by the browser above, one by one, so that each can be looked at."""

    def redirect_request(self, *_: object) -> None:
        return None


def _exchange(request: urllib.request.Request, *handlers: urllib.request.BaseHandler) -> Answer:
    # No proxy is to be asked for an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect(), *handlers)
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return Answer(request.full_url, answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as answer:
        with answer:
            return Answer(request.full_url, answer.code, answer.headers, answer.read())


def _site(coming_from: str | None, url: str) -> str:
    """Sec-Fetch-Site. Two ports of one host are two origins of the same site."""
    if coming_from is None:
        return "none"
    if _origin(coming_from) == _origin(url):
        return "same-origin"
    return "same-site" if urlsplit(coming_from).hostname == urlsplit(url).hostname else "cross-site"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _links(html: str) -> list[str]:
    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            target = dict(attrs).get("href")
            if tag == "a" and target:
                found.append(target)

    found: list[str] = []
    Links().feed(html)
    return found
