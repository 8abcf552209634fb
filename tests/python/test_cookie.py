"""The one cookie: what it is called, what it allows, and that nobody can read it.

`wire.check` looks at every answer of every test: one Set-Cookie at most, HttpOnly, SameSite=Lax, sealed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from http.cookies import Morsel

from support import browser as browsers
from support import wire
from support.browser import Browser
from support.provider import Provider
from support.server import PUBLIC, MlflowServer

Person = Callable[..., str]


def cookies_of(browser: Browser) -> list[Morsel[str]]:
    """Every cookie that our server set in this browser's life, in order."""
    ours = [answer for answer in browser.answers if answer.url.startswith(browser.local + "/")]
    return [cookie for answer in ours if (cookie := wire.set_cookie(answer)) is not None]


def test_on_plain_http(server: MlflowServer, provider: Provider, person: Person) -> None:
    browser = Browser(server)
    browser.login(provider, person("alice"))
    set_in_order = cookies_of(browser)
    assert len(set_in_order) >= 2, "one with the attempt, one with the session"
    for cookie in set_in_order:
        assert cookie.key == "mlflow_oidc"
        assert cookie["path"] == "/"
        assert not cookie["secure"], "a browser would drop it here"
    assert set_in_order[0].value != set_in_order[-1].value
    browser.logout()
    last = cookies_of(browser)[-1]
    assert last.key == "mlflow_oidc"
    assert len(last.value) < len(set_in_order[-1].value)


def test_it_is_set_when_something_is_new_and_only_then(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    browser = Browser(server)
    browser.login(provider, person("alice"))
    experiments = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"
    for path in ("/", "/oidc/session", experiments, "/oidc/logout"):
        assert wire.set_cookie(browser.open(server.url + path)) is None, path


def test_it_never_grows_beyond_four_attempts(server: MlflowServer, person: Person) -> None:
    """Browsers drop a cookie over 4 KB, and gunicorn refuses long headers; ten open tabs are no attack."""
    browser = Browser(server)
    forms = [browser.start_login(f"/?{'x' * 400}={number}") for number in range(10)]
    assert browser.cookie is not None
    assert len(browser.cookie) < 3900
    alice = person("alice")
    assert browser.open(browser.authorize(forms[0], alice)).status_code == 400, "the oldest was let go"
    assert browser.open(browser.authorize(forms[-1], alice)).status_code == 302


def test_under_https(secure: MlflowServer, provider: Provider, person: Person) -> None:
    browser = Browser(secure, public=PUBLIC)
    alice = person("alice")
    form = browser.start_login("/?x=1")
    assert browsers.query_of(form)["redirect_uri"] == f"{PUBLIC}/oidc/callback"
    answer, at = browser.follow(browser.open(browser.authorize(form, alice)), f"{PUBLIC}/oidc/callback")
    assert (answer.status_code, at) == (200, f"{PUBLIC}/?x=1")
    assert browser.signed_in()["username"] == f"{alice}@example.org"
    set_in_order = cookies_of(browser)
    assert len(set_in_order) >= 2
    for cookie in set_in_order:
        # The prefix makes the browser itself refuse one that another host or plain http would set.
        assert cookie.key == "__Host-mlflow_oidc"
        assert cookie["secure"] is True
        assert cookie["path"] == "/"
        assert cookie["domain"] == ""
    made = browser.xhr("POST", "/ajax-api/2.0/mlflow/experiments/create", json={"name": f"of-{alice}"})
    assert made.status_code == 200, made.text
    onward = browsers.goes_on_to(browser.logout())
    assert onward is not None
    assert browsers.query_of(onward)["post_logout_redirect_uri"].startswith(PUBLIC + "/")
    assert browser.session() is None


def test_under_https_a_cookie_of_plain_http_is_nobody(
    secure: MlflowServer, provider: Provider, person: Person
) -> None:
    browser = Browser(secure, public=PUBLIC)
    browser.login(provider, person("alice"))
    jar = browser.cookies[browser.origin]
    jar["mlflow_oidc"] = jar.pop("__Host-mlflow_oidc")
    assert browser.session() is None


def test_no_header_moves_the_public_address(secure: MlflowServer, provider: Provider) -> None:
    """A login that begins under a forged Host or X-Forwarded-Host still comes back to us."""
    for headers in (
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "http"},
        {"Forwarded": "host=evil.example;proto=http"},
        {"X-Forwarded-Prefix": "/evil"},
    ):
        answer = secure.call("GET", "/oidc/login?next=/&go=1", headers={**wire.NAVIGATION, **headers})
        assert answer.status_code == 302, answer.text
        query = browsers.query_of(answer.headers["Location"])
        assert query["redirect_uri"] == f"{PUBLIC}/oidc/callback"
        refused = secure.call("GET", "/api/2.0/mlflow/experiments/search", headers=headers)
        (challenge,) = wire.every(refused, "WWW-Authenticate")
        assert f'resource_metadata="{PUBLIC}/' in challenge


def test_without_a_public_address_a_foreign_host_is_refused(server: MlflowServer) -> None:
    """Nobody said what we are called, so only loopback is believed."""
    headers = {**wire.NAVIGATION, "Host": "evil.example"}
    answer = server.call("GET", "/oidc/login?next=/&go=1", headers=headers)
    assert answer.status_code >= 400, answer.headers
    assert "evil.example" not in answer.headers.get("Location", "")
    if not server.modern:
        # MLflow 3 refuses the host itself before it asks us.
        assert answer.status_code == 500
        assert "OIDC_PUBLIC_URL" in answer.text


def test_a_session_ends(secure: MlflowServer, provider: Provider, person: Person) -> None:
    browser = Browser(secure, public=PUBLIC)
    alice = person("alice")
    browser.login(provider, alice)
    assert browser.session() is not None
    # The shortest lifetime is a minute, which is long to wait for: ten of them pass in the row instead.
    subject = (alice,)
    query = "SELECT expires_at - created_at, expires_at FROM oidc_sessions WHERE subject = ?"
    ((lifetime, expires_at),) = secure.rows(query, *subject, database="basic_auth.db-oidc")
    assert lifetime == 600
    assert abs(expires_at - time.time() - 600) < 30
    with sqlite3.connect(secure.folder / "basic_auth.db-oidc") as connection:
        past = int(time.time()) - 1
        connection.execute("UPDATE oidc_sessions SET expires_at = ? WHERE subject = ?", (past, *subject))
    connection.close()
    assert browser.session() is None
    path = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"
    wire.refusal(browser.xhr("GET", path), 401)
    page = browser.open(PUBLIC + "/")
    assert page.status_code == 302, "the next page goes through the provider again"
    browser.login(provider, alice)
    assert browser.session() is not None


def test_a_remembered_token_ends_to_the_second(
    secure: MlflowServer, provider: Provider, person: Person
) -> None:
    """That it was verified a moment ago does not make it live longer."""
    expires = int(time.time()) + 3
    token = provider.bearer(person("alice"), exp=expires)
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    while time.time() < expires - 0.5:
        assert secure.call("GET", path, token=token).status_code == 200
        time.sleep(0.2)
    time.sleep(max(0, expires + 0.1 - time.time()))
    wire.refusal(secure.call("GET", path, token=token), 401, "token_expired")
