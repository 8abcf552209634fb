"""MLflow below a path: every address of ours is below it too, and so is the cookie."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import pytest

from support import browser as browsers
from support import wire
from support.browser import Browser
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

Person = Callable[..., str]

EXPERIMENTS = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def prefixed(version: str, make_module_server: MakeServer, provider: Provider) -> MlflowServer:
    return make_module_server(version, provider.issuer, prefix="/ml")


def test_the_whole_way_in_and_out(prefixed: MlflowServer, provider: Provider, person: Person) -> None:
    browser = Browser(prefixed)
    first = browser.open(prefixed.url + "/?x=1")
    assert first.status_code == 302
    sign_in = urljoin(first.url, first.headers["Location"])
    assert urlsplit(sign_in).path == "/ml/oidc/login"
    assert browsers.query_of(sign_in) == {"next": "/ml/?x=1"}

    alice = person("alice")
    form = browser.start_login("/?x=1")
    assert browsers.query_of(form)["redirect_uri"] == prefixed.url + "/oidc/callback"
    callback = browser.authorize(form, alice)
    page, at = browser.follow(browser.open(callback), callback)
    assert (page.status_code, at) == (200, prefixed.url + "/?x=1")
    assert 'id="root"' in page.text
    assert browser.signed_in()["username"] == f"{alice}@example.org"
    assert browser.xhr("GET", EXPERIMENTS).status_code == 200

    for answer in browser.answers:
        if (cookie := wire.set_cookie(answer)) is not None:
            assert cookie["path"] == "/ml/"
            assert cookie.key == "mlflow_oidc"

    onward = browsers.goes_on_to(browser.logout())
    assert onward is not None
    assert browsers.query_of(onward)["post_logout_redirect_uri"].startswith(prefixed.url + "/")
    assert browser.session() is None


def test_programs(prefixed: MlflowServer, provider: Provider, person: Person) -> None:
    assert prefixed.call("GET", EXPERIMENTS, token=provider.bearer(person("alice"))).status_code == 200
    if not prefixed.modern:
        # MLflow 2 keeps what its Python client asks outside the prefix.
        bare = f"http://127.0.0.1:{prefixed.port}/api/2.0/mlflow/experiments/search?max_results=1"
        assert wire.send("GET", bare, token=provider.bearer(person("alice"))).status_code == 200
        wire.refusal(wire.send("GET", bare), 401, "no_credentials")
    for path in (EXPERIMENTS, "/", "/no/such/path"):
        wire.refusal(prefixed.call("GET", path), 401, "no_credentials")
    refused = prefixed.call("GET", EXPERIMENTS)
    found = re.search(r'resource_metadata="([^"]+)"', wire.every(refused, "WWW-Authenticate")[0])
    assert found
    metadata = wire.send("GET", found[1])
    assert metadata.status_code == 200, f"{found[1]}: {metadata.status_code}"
    assert metadata.json()["resource"].rstrip("/") == prefixed.url


def test_outside_the_prefix_nobody_gets_in(prefixed: MlflowServer) -> None:
    root = f"http://127.0.0.1:{prefixed.port}"
    for path in (
        "/",
        "/api/2.0/mlflow/experiments/search",
        "/oidc/session",
        "/mlx/",
        "/ml/../",
        "/mloidc/login",
    ):
        for headers in ({}, wire.NAVIGATION):
            assert wire.send("GET", root + path, headers=headers).status_code in (302, 401, 404), path
    assert wire.send("DELETE", root + "/api/3.0/mlflow/workspaces/default").status_code >= 400


def test_under_https_the_cookie_says_so(make_server: MakeServer, provider: Provider, person: Person) -> None:
    """The cookie's name is no matter of MLflow's version."""
    public = "https://mlflow.example"
    settings = settings_for(provider.issuer, OIDC_PUBLIC_URL=f"{public}/ml")
    server = make_server("2.9.2", provider.issuer, prefix="/ml", settings=settings)
    browser = Browser(server, public=public)
    page, at = browser.login(provider, person("alice"))
    assert (page.status_code, at) == (200, f"{public}/ml/")
    seen = [cookie for answer in browser.answers if (cookie := wire.set_cookie(answer)) is not None]
    assert seen
    for cookie in seen:
        # __Host- would demand Path=/, so below a path it is the weaker of the two.
        assert cookie.key == "__Secure-mlflow_oidc"
        assert cookie["secure"] is True
        assert cookie["path"] == "/ml/"
