"""A browser made of HTTP requests: it goes wherever it is sent, and fills in whatever form it finds there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit, urlunsplit

import requests

from support import wire
from support.browser import goes_on_to

Stop = Callable[[str], bool]


@dataclass
class Form:
    """The first form of a page: where it is sent, and what stands in it."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Visitor:
    """Two servers of one host share their cookies, as in every browser."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        # Where the last page is.
        self.at = ""

    def open(self, url: str, stop: Stop | None = None) -> requests.Response:
        """Types an address and is led on, up to one that `stop` does not want opened: then `at` is it."""
        return self._led(self._send("GET", url), stop)

    def submit(self, page: requests.Response, stop: Stop | None = None, **filled: str) -> requests.Response:
        """Fills in the page's form and sends it."""
        form = form_of(page)
        return self._led(self._send("POST", urljoin(page.url, form.action), form.fields | filled), stop)

    def session(self, mlflow: str) -> dict[str, Any] | None:
        """Who MLflow says is at this browser."""
        answer = self._session.get(f"{mlflow}/oidc/session", headers=wire.XHR, timeout=30)
        if answer.status_code == 401:
            return None
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def _led(self, answer: requests.Response, stop: Stop | None) -> requests.Response:
        for _ in range(20):
            self.at = answer.url
            onward = goes_on_to(answer)
            if onward is None:
                return answer
            self.at = urljoin(answer.url, onward)
            if stop is not None and stop(self.at):
                return answer
            answer = self._send("GET", self.at)
        raise AssertionError(f"it never ends: {self.at}")

    def _send(self, method: str, url: str, form: dict[str, str] | None = None) -> requests.Response:
        headers = dict(wire.NAVIGATION)
        if form is not None:
            headers |= {"Sec-Fetch-Site": "same-origin", "Origin": "/".join(url.split("/")[:3])}
        return self._session.request(
            method, url, data=form, headers=headers, timeout=30, allow_redirects=False
        )


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.found.append(Form(values.get("action", "")))
        elif tag == "input" and self.found and "name" in values:
            self.found[-1].fields[values["name"]] = values.get("value", "")


def form_of(page: requests.Response) -> Form:
    parser = _Forms()
    parser.feed(page.text)
    assert parser.found, f"no form at {page.url}: {page.status_code} {page.text[:500]}"
    return parser.found[0]


def member(address: str, name: str) -> str:
    """A member of an address's query."""
    return parse_qs(urlsplit(address).query)[name][0]


def changed(address: str, **members: str | None) -> str:
    """The address with these members in its query; None leaves one out."""
    parts = urlsplit(address)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | members
    return urlunsplit(parts._replace(query=urlencode({k: v for k, v in query.items() if v is not None})))
