"""`next` as a real browser reads it: its parser of addresses, its fragments, and where it really goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote, unquote_plus, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page

from support import vectors
from support.chromium import authorized, begun
from support.engines import Engines
from support.provider import Provider
from support.server import MlflowServer, settings_for

pytestmark = pytest.mark.parametrize("guarded", ["3.17.2"], indirect=True, scope="session")

Person = Callable[..., str]

# uvicorn takes no longer request line; what does not arrive leads nowhere.
LINE_LIMIT = 60_000

# Asks the sign-in page for each text as this page's own script would, and reads its link and its refresh.
ASK = """
texts => Promise.all(texts.map(async text => {
  const answer = await fetch("/oidc/login?next=" + encodeURIComponent(text));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const link = new URL(page.getElementById("continue").getAttribute("href"), location.href);
  const place = link.searchParams.get("next");
  const url = new URL(place, location.href);
  const raw = URL.canParse(text, location.href) ? new URL(text, location.href) : null;
  return {text, place, href: url.href, origin: url.origin, path: url.pathname, user: url.username,
    away: raw !== null && raw.origin !== location.origin, onward: link.pathname};
}))
"""


@pytest.fixture
def server(guarded: Engines, provider: Provider) -> MlflowServer:
    guarded.fresh(settings_for(provider.issuer))
    return guarded.server


def spelled(server: MlflowServer, part: str, base: str = "") -> list[str]:
    host = f"127.0.0.1:{server.port}"
    texts = [vectors.filled(text, base, host) for text in vectors.texts(part)]
    return [text for text in texts if len(quote(text)) < LINE_LIMIT]


@pytest.mark.parametrize("base", ["", "/mlflow"], ids=lambda base: base or "/")
def test_chromiums_own_parser_finds_no_way_out(
    guarded: Engines, provider: Provider, page: Page, base: str
) -> None:
    server = guarded.server
    origin = f"http://127.0.0.1:{server.port}"
    guarded.fresh(settings_for(provider.issuer, OIDC_PUBLIC_URL=origin + base))
    # A page without a policy of ours, which would not let it ask anything.
    page.goto(f"{origin}/health")
    away = 0
    for part in ("start", "here", "kept"):
        for said in page.evaluate(ASK, spelled(server, part, base)[:: 3 if base else 1]):
            assert said["onward"] == f"{base}/oidc/login", said
            assert said["origin"] == origin, said
            # Chromium encodes two letters more in a path than the `url` crate: | and ^.
            assert unquote(said["href"]) == unquote(origin + said["place"]), f"it is changed: {said}"
            assert said["path"].startswith(f"{base}/"), said
            assert not said["path"].startswith("//"), said
            assert said["user"] == "", said
            assert part != "start" or said["place"] == f"{base}/", said
            assert part != "kept" or said["place"] == said["text"], said
            away += said["away"]
    # Without the guard these would be somewhere else; many more are so in parsers that are no browser's.
    assert away > (100 if base else 350)


def test_the_browser_goes_where_the_guard_says(
    server: MlflowServer, context: BrowserContext, page: Page, provider: Provider, person: Person
) -> None:
    """From the provider's answer on, by the browser itself; MLflow's scripts are left out, to be quick."""
    alice = person("alice")
    page.route("**/static-files/**", lambda route: route.abort())
    texts = spelled(server, "start")[::29] + spelled(server, "here")[::23] + spelled(server, "kept")[::9]
    for text in texts:
        callback = authorized(context, begun(context, server.url, "next=" + quote(text, safe="")), alice)
        # A refusal of MLflow's own may be an empty page, and a download is no page at all.
        page.goto(callback, wait_until="commit")
        at = urlsplit(page.url)
        assert (at.scheme, at.netloc) == ("http", f"127.0.0.1:{server.port}"), f"{text!r} led to {page.url}"
        assert not at.path.startswith("/oidc/"), f"{text!r} led to {page.url}"
    assert len(texts) > 50


def test_a_fragment_is_kept_and_is_no_way_out(server: MlflowServer, page: Page) -> None:
    """The script of the sign-in page puts what stands behind the `#` behind `next`."""
    page.route(re.compile(r"/oidc/login\?.*go=1"), lambda route: route.fulfill(status=204))
    page.goto(f"{server.url}/health")
    texts = [text for text in spelled(server, "start") + spelled(server, "here") if len(text) < 1000]
    origin = f"http://127.0.0.1:{server.port}"
    for number, text in enumerate(texts[::19]):
        next_, fragment = ("/", "/x?y=z")[number % 2], text.lstrip("#")
        # By a script, as a link of another page would; the number makes it another page each time.
        address = f"{origin}/oidc/login?next={quote(next_, safe='')}&number={number}#{fragment}"
        with page.expect_request(lambda request: "go=1" in request.url) as asked:
            page.evaluate("address => { location.href = address }", address)
        onward = urlsplit(asked.value.url)
        assert f"{onward.scheme}://{onward.netloc}{onward.path}" == f"{origin}/oidc/login", fragment
        # What the server makes of it, told by the page that would come without `go`.
        said = page.context.request.get(f"{server.url}/oidc/login?{onward.query.replace('go=1', 'stay=1')}")
        (place,) = re.findall(r'id="continue" href="/oidc/login\?next=([^"]*)&amp;go=1"', said.text())
        kept = unquote_plus(place)
        assert kept == "/" or kept == next_ or kept.startswith(f"{next_}#"), f"{fragment!r} became {kept}"
