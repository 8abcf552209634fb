"""`next` at a real MLflow: no spelling of tests/vectors/next.txt leads away, and no place in it is lost."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from html import unescape
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
from werkzeug.urls import iri_to_uri

from support import browser as browsers
from support import vectors, wire
from support.browser import Browser
from support.engines import Engines
from support.provider import Provider
from support.server import MlflowServer, settings_for

Person = Callable[..., str]

# gunicorn takes no longer request line; what does not arrive leads nowhere.
LINE_LIMIT = 4000


@pytest.fixture
def server(guarded: Engines, provider: Provider) -> MlflowServer:
    guarded.fresh(settings_for(provider.issuer))
    return guarded.server


class Line:
    """One kept connection, on which an address goes out as it was written: requests would mend it first."""

    def __init__(self, server: MlflowServer, base: str = "", cookie: str | None = None) -> None:
        self.base, self.host = base, f"127.0.0.1:{server.port}"
        self.headers = wire.NAVIGATION | ({"Cookie": cookie} if cookie else {})
        self.connection = http.client.HTTPConnection(self.host, timeout=30)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def get(self, target: str) -> tuple[int, http.client.HTTPMessage, str]:
        self.connection.request("GET", target, headers=self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    def onward(self, query: str) -> str:
        """The one `next` that the sign-in page goes on with, in its link and without scripts."""
        status, _, page = self.get(f"/oidc/login?{query}")
        assert status == 200, f"{query}: {status} {page}"
        (link,) = re.findall(r'<a [^>]*id="continue" href="([^"]*)"', page)
        (refresh,) = re.findall(r'<noscript><meta http-equiv="refresh" content="0; url=([^"]*)">', page)
        assert link == refresh, query
        address = urlsplit(unescape(link))
        assert address[:3] == ("", "", f"{self.base}/oidc/login"), link
        asked = parse_qs(address.query, strict_parsing=True)
        assert list(asked) == ["next", "go"], link
        (place,) = asked["next"]
        return place

    def spelled(self, part: str) -> Iterator[tuple[str, str]]:
        """(the text, the query that carries it), unless the server would not read that much."""
        for text in vectors.texts(part):
            said = vectors.filled(text, self.base, self.host)
            query = said if part == "query" else "next=" + quote(said, safe="")
            # Without a page there is no link to look at; the login below goes on.
            if len(query) < LINE_LIMIT and "go=" not in query:
                yield said, query

    def assert_here(self, place: str, said: str) -> None:
        """A place in this MLflow, for Python's parser as for the `url` crate, which the Rust tests ask."""
        told = f"{said!r} became {place!r}"
        assert place.startswith(f"{self.base}/"), told
        assert not place.startswith("//"), told
        assert re.fullmatch(r"[!#-;=?-\[\]-~]+", place), told
        for page in ("/", "/oidc/login?next=x", "/oidc/callback?code=x", "/x/y/z"):
            whole = urlsplit(urljoin(f"http://{self.host}{page}", place))
            assert (whole.scheme, whole.netloc) == ("http", self.host), told
            assert whole.path.startswith(f"{self.base}/"), told


@pytest.mark.parametrize("base", ["", "/a/b"], ids=lambda base: base or "/")
def test_no_spelling_leads_away(guarded: Engines, provider: Provider, base: str) -> None:
    """Below a base as behind a proxy that takes it off again."""
    public = f"http://127.0.0.1:{guarded.server.port}{base}"
    guarded.fresh(settings_for(provider.issuer, OIDC_PUBLIC_URL=public))
    # All of them at the root; the core has tried every one behind each base.
    step = 3 if base else 1
    count = 0
    with Line(guarded.server, base) as line:
        for part in vectors.PARTS:
            for text, query in [*line.spelled(part)][::step]:
                place = line.onward(query)
                line.assert_here(place, text)
                assert part != "start" or place == f"{base}/", repr(text)
                assert part != "kept" or place == text, repr(text)
                count += 1
    assert count > 1300 / step


def test_no_place_that_is_kept_leads_on_to_another(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    """MLflow decodes a path, merges slashes and redirects by itself: not away, and not to us."""
    browser = Browser(server)
    browser.login(provider, person("alice"))
    ((name, value),) = browser.cookies[browser.origin].items()
    seen = set()
    with Line(server, cookie=f"{name}={value}") as line:
        for part in ("here", "query", "kept"):
            for text, query in line.spelled(part):
                # No server is told the fragment.
                place = line.onward(query).partition("#")[0]
                # A GET of /graphql without a body is a traceback of MLflow's own.
                if place in seen or place == "/graphql":
                    continue
                seen.add(place)
                status, headers, body = line.get(place)
                told = f"{text!r} became {place!r}"
                assert "default-src 'none'" not in headers.get("Content-Security-Policy", ""), (
                    f"{told}: our page"
                )
                assert '"expires_at"' not in body, f"{told}: our session"
                if 300 <= status < 400:
                    whole = urlsplit(urljoin(f"{server.url}{place}", headers["Location"]))
                    assert whole.netloc == line.host, f"{told} -> {headers['Location']}"
    assert len(seen) > 250, "most of them are kept"


def test_the_whole_login_ends_where_the_sign_in_page_said(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    """Through the sealed cookie and the provider, to the Location that Werkzeug writes."""
    alice, browser = person("alice"), Browser(server)
    with Line(server) as line:
        sample = [(part, step) for part, step in (("start", 41), ("here", 21), ("kept", 7))]
        for text, query in [row for part, step in sample for row in [*line.spelled(part)][::step]]:
            place = line.onward(query)
            to_provider = browser.open(f"{server.url}/oidc/login?{query}&go=1")
            assert to_provider.status_code == 302, to_provider.text
            assert str(browsers.goes_on_to(to_provider)).startswith(provider.issuer + "/")
            answer = browser.open(browser.authorize(to_provider.headers["Location"], alice))
            assert answer.status_code == 302, answer.text
            (location,) = wire.every(answer, "Location")
            # Werkzeug encodes a bracket in a fragment and drops an empty query: the same place to browsers.
            assert location == iri_to_uri(f"{server.url}{place}"), repr(text)
            line.assert_here(location.removeprefix(server.url), text)
