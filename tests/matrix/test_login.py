"""A person at a browser."""

from __future__ import annotations

from collections.abc import Callable

from matrix import Cell

from support import wire
from support.browser import Browser
from support.cells import not_there, since
from support.provider import Provider
from support.server import ADMIN, MlflowServer

Person = Callable[..., str]

EXPERIMENTS = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"


def test_a_browser_signs_in_with_one_cookie(plain: MlflowServer, provider: Provider, person: Person) -> None:
    alice, browser = person("alice"), Browser(plain)
    page, at = browser.login(provider, alice)
    assert (page.status_code, at) == (200, plain.url + "/")
    assert 'id="root"' in page.text, "MLflow's own page"
    assert browser.signed_in()["username"] == f"{alice}@example.org"
    assert browser.xhr("GET", EXPERIMENTS).status_code == 200
    assert set(browser.cookies[browser.origin]) == {"mlflow_oidc"}

    browser.logout()
    assert browser.session() is None
    wire.refusal(browser.xhr("GET", EXPERIMENTS), 401)


def test_admins_and_plain_users(plain: MlflowServer, provider: Provider, person: Person) -> None:
    path = f"/api/2.0/mlflow/users/get?username={ADMIN[0]}"
    for groups, status in ((["MLFLOW_admin"], 200), (["MLFLOW"], 403)):
        who, browser = person("ada", groups=groups), Browser(plain)
        browser.login(provider, who)
        assert browser.xhr("GET", path).status_code == status
        assert plain.is_admin(f"{who}@example.org") is (status == 200)


def test_who_is_in_no_group_is_nobody(plain: MlflowServer, provider: Provider, person: Person) -> None:
    mallory, browser = person("mallory", groups=["OTHER"]), Browser(plain)
    page, _ = browser.login(provider, mallory)
    assert page.status_code == 403
    assert "MLFLOW" in page.text
    assert browser.session() is None
    assert plain.user(f"{mallory}@example.org") is None


def test_both_workers_know_the_session(plain: MlflowServer, provider: Provider, person: Person) -> None:
    alice, browser = person("alice"), Browser(plain)
    browser.login(provider, alice)
    for index in range(plain.workers):
        with plain.only_worker(index):
            assert browser.signed_in()["username"] == f"{alice}@example.org"
            assert browser.xhr("GET", EXPERIMENTS).status_code == 200


def test_the_ui_knows_the_user_and_no_passwords(
    cell: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    if not since(cell, "3.13.0"):
        not_there("MLflow's UI asks for the current user since 3.13")
    alice, browser = person("alice"), Browser(plain)
    browser.login(provider, alice)
    said = browser.xhr("GET", "/ajax-api/2.0/mlflow/users/current")
    assert said.status_code == 200, said.text
    assert f"{alice}@example.org" in said.text
    assert said.json()["is_basic_auth"] is False
