"""A page of another origin in the browser of somebody who is signed in changes nothing, whatever it sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from support.chromium import OtherSite, signed_in
from support.engines import Engines
from support.provider import Provider
from support.server import MlflowServer, settings_for

pytestmark = pytest.mark.parametrize("guarded", ["3.17.2"], indirect=True, scope="session")

Person = Callable[..., str]

ATTACK = (Path(__file__).parent / "other_origin.js").read_text()


def rows(server: MlflowServer) -> dict[str, Any]:
    databases = ("basic_auth.db", "basic_auth.db-oidc", "mlflow.db")
    found: dict[str, Any] = {name: server.every_row(name) for name in databases}
    return {**found, "artifacts": sorted((server.folder / "artifacts").rglob("*"))}


def changes(name: str) -> list[tuple[str, str, dict[str, Any]]]:
    """What would change something, for an administrator."""
    user = {"username": f"{name}@example.org", "password": "a-password-of-the-page-123"}
    return [
        ("POST", "/api/2.0/mlflow/experiments/create", {"name": name}),
        ("POST", "/ajax-api/2.0/mlflow/experiments/create", {"name": name}),
        ("POST", "/api/2.0/mlflow/users/create-ui", user),
        ("POST", "/graphql", {"query": '{ test(inputString: "x") { output } }', "name": name}),
        ("POST", "/v1/traces", {"name": name}),
        ("POST", "/oidc/logout", {"name": name}),
        ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/x.txt", {"name": name}),
        ("PATCH", "/api/2.0/mlflow/users/update-admin", {**user, "is_admin": True}),
        ("DELETE", "/api/3.0/mlflow/workspaces/default", {"name": name}),
    ]


# What a page can have read, written as if that changed something.
READS = [
    "/api/2.0/mlflow/experiments/create?name=read",
    "/ajax-api/2.0/mlflow/runs/create?experiment_id=0",
    "/signup",
    "/oidc/logout",
    "/oidc/logout?_method=POST",
]
STREAMS = ["/", "/version", "/oidc/logout", "/ajax-api/3.0/mlflow/assistant/sessions/x/stream"]


@pytest.fixture
def server(guarded: Engines, provider: Provider, context: BrowserContext, person: Person) -> MlflowServer:
    """With an administrator signed in at this browser."""
    guarded.fresh(settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS="0"))
    signed_in(context, guarded.server.url, person("ada", groups=["MLFLOW_admin"]))
    return guarded.server


def still_signed_in(context: BrowserContext, server: MlflowServer) -> bool:
    return context.request.get(f"{server.url}/oidc/session").status == 200


@pytest.mark.parametrize("kind", ["sibling", "stranger"])
def test_nothing_changes(
    server: MlflowServer, context: BrowserContext, page: Page, other_site: OtherSite, kind: str
) -> None:
    """A sibling is of the same site, so that even a SameSite=Lax cookie goes with all that its page sends."""
    before, log = rows(server), len(server.log_text())
    page.goto(other_site.sibling if kind == "sibling" else other_site.stranger)
    name = f"of-a-{kind}"
    told = page.evaluate(
        ATTACK, {"url": server.url, "changes": changes(name), "reads": READS, "streams": STREAMS}
    )
    assert len(told) > 130, told
    for what, came in told:
        assert came not in ("200", "201", "204", "open", "no answer"), f"{what}: {came}"
    assert rows(server) == before
    assert still_signed_in(context, server)
    found = server.admin("GET", "/api/2.0/mlflow/experiments/search?max_results=1000")
    assert name not in json.dumps(found)
    lines = [line for line in server.log_text()[log:].splitlines() if "with cross_origin" in line]
    assert len(lines) > (70 if kind == "sibling" else 5), "they did arrive, and it was we who refused them"
    # To a stranger's page the browser lends no Lax cookie; only signing out is refused before that counts.
    assert kind == "sibling" or not [line for line in lines if "'/oidc/logout'" not in line], lines


@pytest.mark.parametrize("kind", ["sibling", "stranger"])
def test_a_form_that_takes_the_whole_window(
    server: MlflowServer, context: BrowserContext, other_site: OtherSite, kind: str
) -> None:
    before = rows(server)
    site = other_site.sibling if kind == "sibling" else other_site.stranger
    for path in ("/oidc/logout", "/api/2.0/mlflow/users/create-ui", "/"):
        # A window for each: the 401 of the form before goes on by itself to a provider that is a sibling.
        page = context.new_page()
        page.goto(site)
        with page.expect_navigation(wait_until="commit") as went:
            page.evaluate(
                """address => {
                  const form = document.body.appendChild(document.createElement("form"));
                  Object.assign(form, {method: "post", action: address});
                  form.submit();
                }""",
                server.url + path,
            )
        answer = went.value
        assert answer is not None
        assert answer.request.headers["origin"] == site
        # To a stranger's page the cookie is not lent, so there is nobody to refuse a change to.
        assert answer.status == (403 if kind == "sibling" or path == "/oidc/logout" else 401), path
    assert rows(server) == before
    assert still_signed_in(context, server)


def test_the_same_from_our_own_page_does_change_something(
    server: MlflowServer, context: BrowserContext, page: Page
) -> None:
    """So it is not for another fault that the attack fails."""
    page.goto(f"{server.url}/health")
    wanted = changes("of-our-own")[:2]
    told = page.evaluate(ATTACK, {"url": server.url, "changes": wanted, "reads": [], "streams": []})
    # All of them ask for the same name, so the first is served and the others are told that it is taken.
    assert sorted({came for what, came in told if "application/json" in what}) == ["200", "400"], told
    found = server.admin("GET", "/api/2.0/mlflow/experiments/search?max_results=1000")
    assert "of-our-own" in json.dumps(found)
