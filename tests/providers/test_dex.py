"""Dex, with a company's provider behind it, goes through what every provider goes through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import running
from playwright.sync_api import Page, expect

from cases import Cases, log_in, session_of
from support.chromium import faults_of, shoot
from support.real import BOB, USERS, Homes
from support.real.dex import GUEST, Dex
from support.server import MlflowServer


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> Iterator[Dex]:
    made = Dex(tmp_path_factory.mktemp("dex-"), homes)
    yield from running(made)


class TestDex(Cases):
    """The cases of all providers, and Dex's own pages."""

    def test_a_password_at_dexs_own_form_brings_no_groups(
        self, page: Page, real: Dex, mlflow: MlflowServer
    ) -> None:
        page.goto(mlflow.url, wait_until="commit")
        real.wait_for_form(page)
        page.get_by_role("button", name="Log in with Email").click()
        page.get_by_placeholder("email address").fill(GUEST[0])
        page.get_by_placeholder("password").fill(GUEST[1])
        page.get_by_role("button", name="Login").click()
        page.wait_for_url(f"{mlflow.url}/oidc/callback**")
        expect(page.locator("body")).to_contain_text("groups_missing")
        expect(page.locator("body")).to_contain_text(USERS)
        assert session_of(page, mlflow) is None

    def test_a_sign_out_says_how_far_it_reaches(self, page: Page, real: Dex, mlflow: MlflowServer) -> None:
        faults = faults_of(page)
        log_in(page, real, mlflow, BOB)
        page.goto(f"{mlflow.url}/oidc/logout")
        expect(page.locator("body")).to_contain_text("session in MLflow alone")
        page.click("form button")
        expect(page.locator("body")).to_contain_text("provider goes on")
        shoot(page, "dex-signed-out")
        assert session_of(page, mlflow) is None
        assert not [fault for fault in faults if "Content Security Policy" in fault], faults
