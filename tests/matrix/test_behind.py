"""Below a path and behind a proxy that ends TLS, which is how most servers stand."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from matrix import Cell

from support import browser as browsers
from support import otlp, wire
from support.browser import Browser
from support.cells import PUBLIC, not_there, since
from support.provider import Provider
from support.server import ADMIN, MlflowServer

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


def test_a_native_route_knows_the_workspace(
    natives: Cell, behind: MlflowServer, provider: Provider, person: Person
) -> None:
    """MLflow forgets it at the end of a Flask request, and its checks come after the one made for us."""
    if not since(natives, "3.10.0"):
        not_there("MLflow has workspaces since 3.10")
    alice, team = person("alice"), f"team-{uuid.uuid4().hex[:8]}"
    of_alice, of_bob = provider.bearer(alice), provider.bearer(person("bob"))
    for token in (of_alice, of_bob):
        assert behind.call("GET", EXPERIMENTS, token=token).status_code == 200
    made = behind.call("POST", "/ajax-api/3.0/mlflow/workspaces", json={"name": team}, auth=ADMIN)
    assert made.status_code in (200, 201), made.text
    _manage(natives, behind, f"{alice}@example.org", team)

    here = {"X-MLFLOW-WORKSPACE": team}
    path, body = "/ajax-api/2.0/mlflow/experiments/create", {"name": f"of-{team}"}
    made = behind.call("POST", path, token=of_alice, json=body, headers=here)
    assert made.status_code == 200, made.text
    sent = otlp.trace(made.json()["experiment_id"])
    sent["headers"] |= here
    prefix = "/ml" if since(natives, "3.16.0") else ""
    url = f"http://127.0.0.1:{behind.port}{prefix}/v1/traces"
    assert wire.send("POST", url, token=of_alice, **sent).status_code == 200
    assert wire.send("POST", url, token=of_bob, **sent).status_code == 403


def _manage(cell: Cell, server: MlflowServer, username: str, workspace: str) -> None:
    """Lets a user manage a workspace, in the way of that MLflow."""

    def post(path: str, body: dict[str, object]) -> dict[str, Any]:
        # Before 3.12 MLflow serves what its Python client asks outside the prefix.
        base = server.url if since(cell, "3.12.0") else f"http://127.0.0.1:{server.port}"
        answer = wire.send("POST", f"{base}/api/3.0/mlflow{path}", json=body, auth=ADMIN)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        said: dict[str, Any] = answer.json()
        return said

    if not since(cell, "3.13.0"):
        post(f"/workspaces/{workspace}/permissions", {"username": username, "permission": "MANAGE"})
        return
    role = post("/roles/create", {"name": "managers", "workspace": workspace})["role"]["id"]
    whole = {"resource_type": "workspace", "resource_pattern": "*", "permission": "MANAGE"}
    post("/roles/permissions/add", {"role_id": role, **whole})
    post("/roles/assign", {"role_id": role, "username": username})
