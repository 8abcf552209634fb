"""A real browser before a real MLflow: what only a script engine, a cookie jar and a policy can show."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from support.chromium import faults_of, log_in, shoot
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

Person = Callable[..., str]


@pytest.fixture(scope="module")
def mlflow(make_module_server: MakeServer, provider: Provider) -> MlflowServer:
    settings = settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="0")
    return make_module_server("3.17.2", provider.issuer, settings=settings)


def session_of(page: Page, mlflow: MlflowServer) -> dict[str, object] | None:
    """Who the server says is at this browser, asked with its cookies."""
    answer = page.context.request.get(f"{mlflow.url}/oidc/session")
    if answer.status == 401:
        return None
    assert answer.status == 200, answer.text()
    said: dict[str, object] = answer.json()
    return said


def test_a_deep_link_survives_the_first_login(
    page: Page, mlflow: MlflowServer, provider: Provider, person: Person
) -> None:
    """MLflow's UI keeps its routes behind the `#`, which no server ever sees."""
    alice = person("alice")
    made = mlflow.admin("POST", "/api/2.0/mlflow/experiments/create", json={"name": "deep-link"})
    target = f"{mlflow.url}/?x=1#/experiments/{made['experiment_id']}?searchFilter=a%20%26%20b"
    page.goto(target, wait_until="commit")
    log_in(page, provider, alice)
    there = f"{mlflow.url}/?x=1#/experiments/{made['experiment_id']}"
    page.wait_for_url(re.compile(re.escape(there) + ".*"))
    expect(page.get_by_text("deep-link").first).to_be_visible()
    shoot(page, "mlflow-after-login")
    said = session_of(page, mlflow)
    assert said is not None
    assert said["username"] == f"{alice}@example.org"


def test_mlflows_own_page_works_as_that_user(
    page: Page, mlflow: MlflowServer, provider: Provider, person: Person
) -> None:
    seen: list[tuple[int, str]] = []
    page.on("response", lambda answer: seen.append((answer.status, answer.url)))
    page.goto(f"{mlflow.url}/#/experiments", wait_until="commit")
    log_in(page, provider, person("alice"))
    page.wait_for_url(f"{mlflow.url}/#/experiments**")
    expect(page.get_by_text("Default").first).to_be_visible()
    page.get_by_text("Default").first.click()
    page.wait_for_url(f"{mlflow.url}/#/experiments/0**")
    page.wait_for_timeout(1500)
    asked = [(status, url) for status, url in seen if "/ajax-api/" in url]
    assert len(asked) >= 3, seen
    assert not [one for one in asked if one[0] in (401, 500)]


@pytest.mark.parametrize("context", [False], indirect=True, ids=["no JavaScript"])
def test_without_scripts(page: Page, mlflow: MlflowServer, provider: Provider, person: Person) -> None:
    """The sign-in page goes on by itself, and back to the query it came from."""
    page.goto(f"{mlflow.url}/?x=1", wait_until="commit")
    log_in(page, provider, person("alice"))
    page.wait_for_url(f"{mlflow.url}/?x=1")
    answer = page.goto(f"{mlflow.url}/oidc/session")
    assert answer is not None
    assert answer.status == 200


def test_another_page_goes_on_by_itself(
    page: Page, mlflow: MlflowServer, provider: Provider, person: Person
) -> None:
    """A 401 with a page in it: the browser shows it, and the page leads on."""
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    page.goto(mlflow.url + path, wait_until="commit")
    log_in(page, provider, person("alice"))
    page.wait_for_url(mlflow.url + path)
    assert "experiments" in page.content()


def test_the_cookie_is_not_for_scripts(
    page: Page, context: BrowserContext, mlflow: MlflowServer, provider: Provider, person: Person
) -> None:
    page.goto(mlflow.url, wait_until="commit")
    log_in(page, provider, person("alice"))
    page.wait_for_url(f"{mlflow.url}/**")
    assert "mlflow_oidc" not in str(page.evaluate("document.cookie"))
    (cookie,) = [one for one in context.cookies() if one.get("name") == "mlflow_oidc"]
    assert cookie.get("httpOnly") is True
    assert cookie.get("sameSite") == "Lax"
    assert cookie.get("path") == "/"


def test_signing_out(page: Page, mlflow: MlflowServer, provider: Provider, person: Person) -> None:
    """The confirm page, its button, and on to the provider: the page's own policy lets all of that happen."""
    faults = faults_of(page)
    page.goto(mlflow.url, wait_until="commit")
    log_in(page, provider, person("alice"))
    page.wait_for_url(f"{mlflow.url}/**")
    page.goto(f"{mlflow.url}/oidc/logout")
    shoot(page, "sign-out")
    page.click("form button")
    page.wait_for_url(f"{provider.issuer}/oauth2/end_session**", wait_until="commit")
    page.click('button:has-text("End session")')
    page.wait_for_url(f"{mlflow.url}/**")
    shoot(page, "signed-out")
    assert session_of(page, mlflow) is None
    assert not [fault for fault in faults if "Content Security Policy" in fault], faults


def test_mallory_reads_why(page: Page, mlflow: MlflowServer, provider: Provider, person: Person) -> None:
    page.goto(mlflow.url, wait_until="commit")
    log_in(page, provider, person("mallory", groups=[]))
    page.wait_for_url(f"{mlflow.url}/oidc/callback**")
    expect(page.locator("body")).to_contain_text("MLFLOW")
    shoot(page, "not-a-member")
    assert session_of(page, mlflow) is None


def test_the_pages_that_go_wrong(
    page: Page, chromium: Browser, mlflow: MlflowServer, provider: Provider
) -> None:
    faults = faults_of(page)
    page.goto(f"{mlflow.url}/oidc/callback?code=x&state=unknown")
    expect(page.locator("body")).to_contain_text("login_unknown")
    shoot(page, "login-unknown")
    page.goto(f"{mlflow.url}/oidc/logout")
    shoot(page, "nobody-signed-in")
    still = chromium.new_context(java_script_enabled=False)
    sign_in = still.new_page()
    sign_in.route(f"{mlflow.url}/oidc/login?*go=1*", lambda route: route.fulfill(status=204))
    sign_in.goto(f"{mlflow.url}/oidc/login?next=%2F", wait_until="commit")
    shoot(sign_in, "sign-in")
    still.close()
    # A 400 is a line in the console by itself; a blocked style or script is a fault of the page.
    assert not [fault for fault in faults if "status of 400" not in fault], faults


def test_a_session_that_ended_signs_in_again(
    page: Page, context: BrowserContext, mlflow: MlflowServer, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    page.goto(mlflow.url, wait_until="commit")
    log_in(page, provider, alice)
    page.wait_for_url(f"{mlflow.url}/**")
    context.clear_cookies()
    assert session_of(page, mlflow) is None
    other = context.new_page()
    other.goto(f"{mlflow.url}/#/models", wait_until="commit")
    log_in(other, provider, alice)
    other.wait_for_url(f"{mlflow.url}/#/models**")
