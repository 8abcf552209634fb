"""Our pages as they reach a browser, after all that MLflow adds: their headers, and others' words in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import quote, urlencode, urljoin

import pytest
import requests

from support import browser as browsers
from support import ports, wire
from support.browser import Browser
from support.engines import Engines
from support.provider import Provider
from support.server import MlflowServer, settings_for

Person = Callable[..., str]

IMAGE = "<img src=x onerror=alert(1)>"
# Each would become something else in one of the places where foreign text stands.
TEXTS = [
    IMAGE,
    "\"'&<b>",
    "</title></style></script><script>alert(1)</script>",
    '" autofocus onfocus="alert(1)',
    "' onclick='alert(1)",
    "x; url=//evil.example",
    "&lt;b&gt;",
    "{{7*7}}${7*7}",
]
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "noscript", "script"),
    *("h1", "p", "a", "ul", "li", "strong", "form", "button"),
}


@pytest.fixture
def server(guarded: Engines, provider: Provider) -> MlflowServer:
    guarded.fresh(settings_for(provider.issuer))
    return guarded.server


class Page(HTMLParser):
    """What a parser of HTML makes of a page: its elements, their attributes, its text."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[str]]] = []
        self.text = ""
        self.feed(answer.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, f"<{tag}> is none of ours"
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "style")], attrs
        self.elements.append((tag, [name for name, _ in attrs]))

    def handle_data(self, data: str) -> None:
        self.text += data


def policy_of(answer: requests.Response) -> dict[str, list[str]]:
    (line,) = wire.every(answer, "Content-Security-Policy")
    rules = [rule.split() for rule in line.split(";")]
    assert len({rule[0] for rule in rules}) == len(rules), f"browsers read the first of two only: {line}"
    return {rule[0]: rule[1:] for rule in rules}


def assert_kept(server: MlflowServer, answer: requests.Response, name: str, native: bool = False) -> None:
    """No frame, no cache, no sniffing, no script but ours: each header once, for browsers mix two up."""
    told = f"{name}: {answer.status_code} {dict(answer.headers)}"
    assert wire.every(answer, "Content-Type") == ["text/html; charset=utf-8"], told
    policy = policy_of(answer)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"], told
    for rule in ("script-src", "style-src"):
        (allowed,) = policy[rule]
        assert allowed.startswith("'sha256-"), told
    assert policy["form-action"][0] == "'self'", told
    assert not [word for words in policy.values() for word in words if "unsafe" in word or "*" in word], told
    # From 3.5 on MLflow puts its own word in the place of ours; browsers prefer `frame-ancestors` to either.
    (frames,) = wire.every(answer, "X-Frame-Options")
    assert frames == ("SAMEORIGIN" if server.modern and not native else "DENY"), told
    assert wire.every(answer, "X-Content-Type-Options") == ["nosniff"], told
    assert wire.every(answer, "Referrer-Policy") == ["same-origin"], told
    assert wire.every(answer, "Cache-Control") == ["no-store"], told
    Page(answer)


def come_back(browser: Browser, **query: str) -> requests.Response:
    """From the provider, with what it said."""
    state = browsers.query_of(browser.start_login())["state"]
    return browser.open(f"{browser.origin}/oidc/callback?{urlencode({'state': state, **query})}")


def every_page(
    guarded: Engines, provider: Provider, person: Person
) -> Iterator[tuple[str, int, requests.Response]]:
    """One of every page, with the status that it should have."""
    server = guarded.server
    guarded.fresh(settings_for(provider.issuer))

    def nobody() -> Browser:
        return Browser(server)

    signed_in = Browser(server)
    signed_in.login(provider, person("alice"))
    api = "/api/2.0/mlflow/experiments/search"
    yield "sign in", 200, nobody().open(server.url + "/oidc/login?next=/x")
    yield "sign in by itself", 401, nobody().open(server.url + api)
    yield "sign out", 200, signed_in.open(server.url + "/oidc/logout")
    yield "signed out", 200, nobody().open(server.url + "/oidc/logout")
    yield "a bad bearer", 401, nobody().open(server.url + api, headers={"Authorization": "Bearer x.y.z"})
    yield "a bad scheme", 401, nobody().open(server.url + api, headers={"Authorization": "Digest x"})
    yield "a bad callback", 400, nobody().open(server.url + "/oidc/callback?code=x")
    yield "a login that was not begun", 400, nobody().open(server.url + "/oidc/callback?code=x&state=y")
    yield "not a member", 403, nobody().login(provider, person("mallory", groups=[]))[0]
    yield "denied", 403, come_back(nobody(), error="access_denied")
    yield "a fault of the provider", 502, come_back(nobody(), error="server_error")
    yield "another provider", 400, come_back(nobody(), code="x", iss="https://evil.example")
    yield "a code that is none", 502, come_back(nobody(), code="x")
    other = {**wire.NAVIGATION, "Sec-Fetch-Site": "same-site"}
    yield "another origin", 403, signed_in.request("POST", server.url + "/", headers=other)
    yield "another method", 405, server.call("POST", "/oidc/login", headers=wire.NAVIGATION)
    guarded.fresh(settings_for(f"http://127.0.0.1:{ports.free()}"))
    yield "no provider", 503, nobody().open(server.url + "/oidc/login?go=1")
    guarded.fresh(settings_for(provider.issuer, OIDC_BASIC_AUTH="perhaps"))
    yield "wrong settings", 500, nobody().open(server.url + "/")


def test_every_page_is_kept_from_frames_scripts_and_caches(
    guarded: Engines, provider: Provider, person: Person
) -> None:
    count = 0
    for name, status, answer in every_page(guarded, provider, person):
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        assert_kept(guarded.server, answer, name)
        leads = policy_of(answer)["form-action"][1:]
        assert leads == ([provider.issuer] if name == "sign out" else []), name
        count += 1
    assert count == 17


def test_a_page_from_the_event_loop(guarded: Engines, provider: Provider) -> None:
    """There MLflow adds nothing, so all of it has to be ours."""
    if not guarded.server.modern:
        pytest.skip("this MLflow has no native routes")
    guarded.fresh(settings_for(provider.issuer))
    for path in ("/api/3.0/mlflow/mcp-servers", "/ajax-api/3.0/jobs/x", "/gateway/mlflow/v1/models"):
        page = guarded.server.call_native("GET", path, headers=wire.NAVIGATION)
        assert page.status_code == 401, page.text
        assert_kept(guarded.server, page, path, native=True)
        said = guarded.server.call_native("GET", path, headers=wire.XHR)
        wire.refusal(said, 401, "no_credentials")
        assert wire.every(said, "X-Content-Type-Options") == ["nosniff"]


def test_json_is_not_sniffed_and_not_stored(guarded: Engines, provider: Provider, person: Person) -> None:
    server = guarded.server
    guarded.fresh(settings_for(provider.issuer))
    api = "/api/2.0/mlflow/experiments/search"
    answers = [
        server.call("GET", api),
        server.call("GET", api, token=IMAGE),
        server.call("GET", api, token=provider.bearer(person("mallory"), groups=["x"])),
        server.call("POST", "/oidc/logout", headers={"Origin": "http://evil.example"}),
        server.call("DELETE", "/oidc/login"),
        server.call("GET", f"/oidc/callback?state=x&code=x&x={quote(IMAGE)}"),
        server.call("GET", "/oidc/session"),
    ]
    guarded.fresh(settings_for(f"http://127.0.0.1:{ports.free()}"))
    answers.append(server.call("GET", "/oidc/login?go=1"))
    guarded.fresh(settings_for(provider.issuer, OIDC_BASIC_AUTH=IMAGE))
    answers.append(server.call("GET", api))
    assert {answer.status_code for answer in answers} == {400, 401, 403, 405, 500, 503}
    for answer in answers:
        told = f"{answer.request.url}: {answer.status_code} {dict(answer.headers)}"
        assert wire.every(answer, "Content-Type") == ["application/json"], told
        assert wire.every(answer, "X-Content-Type-Options") == ["nosniff"], told
        assert wire.every(answer, "Cache-Control") == ["no-store"], told
        answer.json()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_words_of_others_are_words(guarded: Engines, provider: Provider, person: Person, text: str) -> None:
    """Of the provider, of a person's name, of a group, of the address and of the settings."""
    server = guarded.server
    guarded.fresh(settings_for(provider.issuer))
    # In an error a quote and a backslash are marked as such, and the same in a line of the log.
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")

    denied = come_back(Browser(server), error="access_denied", error_description=text)
    assert f"error 'access_denied': '{quoted}'" in Page(denied).text
    other = come_back(Browser(server), code="x", iss=text)
    assert f"found '{quoted}'" in Page(other).text
    assert "callback_issuer" in Page(other).text
    for query in ({"error": text}, {"code": text}, {"code": "x", "state": text}):
        refused = come_back(Browser(server), **query)
        assert refused.status_code >= 400
        Page(refused)

    browser = Browser(server)
    name = f"{text}@example.org"
    browser.login(provider, person("markup", email=name))
    assert f"You are signed in as {name}." in Page(browser.open(server.url + "/oidc/logout")).text
    assert browser.signed_in()["username"] == name
    assert f"'{quoted}@example.org' signed in" in server.log_text()

    for path in (f"/oidc/login?next=/{quote(text)}", f"/{quote(text)}", f"/x?{quote(text)}"):
        page = Browser(server).open(server.url + path)
        Page(page)
        onward = urljoin(page.url, browsers.goes_on_to(page) or "")
        assert onward.startswith(f"{server.url}/oidc/login?next=%2F"), onward
        assert list(browsers.query_of(onward)) == ["next", "go"]

    refused = server.call("GET", "/", headers={**wire.NAVIGATION, "Host": text.encode().decode("latin-1")})
    # From 3.5 on MLflow itself answers first, in plain text.
    assert refused.headers["Content-Type"].startswith("text/plain" if server.modern else "text/html")
    assert refused.status_code >= 400
    assert "<img" not in refused.text

    guarded.fresh(settings_for(provider.issuer, OIDC_USER_GROUP=text))
    mallory = Browser(server).login(provider, person("mallory"))[0]
    assert mallory.status_code == 403
    assert text in Page(mallory).text
    guarded.fresh(settings_for(provider.issuer, OIDC_BASIC_AUTH=text))
    wrong = Browser(server).open(server.url + "/")
    assert wrong.status_code == 500
    assert text in Page(wrong).text.replace("\\", "")


def test_a_challenge_has_no_parameter_of_others(guarded: Engines, provider: Provider) -> None:
    """A quote in a parameter would begin another one, and a line end another header."""
    guarded.fresh(settings_for(provider.issuer))
    words = [
        'x", error="none',
        "x%0d%0aSet-Cookie: x=y",
        "x\\",
        IMAGE,
        'a"b',
        "Bearer Bearer",
        ", Basic realm=x",
    ]
    for word in words:
        for scheme in ("Bearer ", "Digest ", ""):
            answer = guarded.server.call(
                "GET", "/api/2.0/mlflow/experiments/search", headers={"Authorization": scheme + word}
            )
            assert answer.status_code == 401, word
            (challenge,) = wire.every(answer, "WWW-Authenticate")
            names = [field.partition("=")[0] for field in challenge.removeprefix("Bearer ").split(", ")]
            assert names == ["error", "error_description", "resource_metadata"], challenge
            assert challenge.count('"') == 6, challenge
            assert wire.set_cookie(answer) is None
