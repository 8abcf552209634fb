"""Below a path and behind a proxy that ends TLS, which is how most servers stand."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from matrix import Cell

from support import browser as browsers
from support import otlp, wire
from support.browser import Browser
from support.cells import PUBLIC
from support.provider import Provider
from support.server import MlflowServer

Person = Callable[..., str]

ORIGIN = PUBLIC.removesuffix("/ml")
EXPERIMENTS = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"


def test_a_login_below_a_path_behind_tls(behind: MlflowServer, provider: Provider, person: Person) -> None:
    alice, browser = person("alice"), Browser(behind, public=ORIGIN)
    form = browser.start_login("/")
    assert browsers.query_of(form)["redirect_uri"] == f"{PUBLIC}/oidc/callback"
    callback = browser.authorize(form, alice)
    page, at = browser.follow(browser.open(callback), callback)
    assert (page.status_code, at) == (200, f"{PUBLIC}/")
    assert browser.signed_in()["username"] == f"{alice}@example.org"
    assert browser.xhr("GET", EXPERIMENTS).status_code == 200
    seen = [cookie for answer in browser.answers if (cookie := wire.set_cookie(answer)) is not None]
    assert seen
    for cookie in seen:
        assert (cookie.key, cookie["path"], cookie["secure"]) == ("__Secure-mlflow_oidc", "/ml/", True)


def test_programs_below_a_path(behind: MlflowServer, provider: Provider, person: Person) -> None:
    token = provider.bearer(person("alice"))
    assert behind.call("GET", EXPERIMENTS, token=token).status_code == 200
    refused = behind.call("GET", EXPERIMENTS)
    wire.refusal(refused, 401, "no_credentials")
    assert urlsplit(PUBLIC).netloc in wire.every(refused, "WWW-Authenticate")[0]


def test_native_routes_beside_and_below_a_path(
    natives: Cell, behind: MlflowServer, provider: Provider, person: Person
) -> None:
    """Before 3.16 MLflow serves them outside the prefix; the guard has to be there all the same."""
    bare, token = f"http://127.0.0.1:{behind.port}/v1/traces", provider.bearer(person("alice"))
    for url in (bare, behind.url + "/v1/traces"):
        answer = wire.send("POST", url, **otlp.trace("0"))
        wire.refusal(answer, 401, "no_credentials")
    assert behind.call("GET", EXPERIMENTS, token=token).status_code == 200
    statuses = [
        wire.send("POST", url, token=token, **otlp.trace("0")).status_code
        for url in (bare, behind.url + "/v1/traces")
    ]
    # One of the two is there: 200, or 403 by MLflow's own check of the experiment.
    assert set(statuses) & {200, 403}, statuses
