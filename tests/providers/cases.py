"""What every real provider goes through: each method is one row of the table in docs/providers/README.md.

A file test_PROVIDER.py brings the fixture `real` and a class that inherits these. Everything is done as
people do it: at the provider's own pages in Chromium, and by programs with tokens that the provider itself
has issued.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from support import tokens, venvs, wire
from support.chromium import shoot
from support.real import ADMINS, ALICE, BOB, CAROL, USERS, Person, RealProvider
from support.server import ADMIN, MlflowServer

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
# Only an administrator may look at the account of another.
ADMIN_ONLY = f"/api/2.0/mlflow/users/get?username={ADMIN[0]}"
NewPage = Callable[[], Page]


def log_in(page: Page, real: RealProvider, mlflow: MlflowServer, person: Person, path: str = "/") -> None:
    """From MLflow's address to MLflow's page, through the provider's form."""
    page.goto(mlflow.url + path, wait_until="commit")
    real.wait_for_form(page)
    real.sign_in(page, person)
    page.wait_for_url(f"{mlflow.url}/**")


def session_of(page: Page, mlflow: MlflowServer) -> dict[str, Any] | None:
    """Who the server says is at this browser, asked with its cookies."""
    answer = page.context.request.get(f"{mlflow.url}/oidc/session")
    if answer.status == 401:
        return None
    assert answer.status == 200, answer.text()
    said: dict[str, Any] = answer.json()
    return said


def current_user(page: Page, mlflow: MlflowServer) -> dict[str, Any]:
    """What MLflow itself says about the person at this browser."""
    answer = page.context.request.get(f"{mlflow.url}/api/2.0/mlflow/users/current")
    assert answer.status == 200, answer.text()
    said: dict[str, Any] = answer.json()["user"]
    return said


def admin_only_call(page: Page, mlflow: MlflowServer) -> int:
    return page.context.request.get(mlflow.url + ADMIN_ONLY).status


def refused_by_group(page: Page, real: RealProvider, mlflow: MlflowServer, person: Person) -> None:
    """The login ends at a page of ours that names the group, and nobody is signed in."""
    page.goto(mlflow.url, wait_until="commit")
    real.wait_for_form(page)
    real.sign_in(page, person)
    page.wait_for_url(f"{mlflow.url}/oidc/callback**")
    expect(page.locator("body")).to_contain_text(USERS)
    expect(page.locator("p.code")).to_have_text(re.compile("|".join(real.refusals_of_strangers)))
    assert session_of(page, mlflow) is None


def by_token(mlflow: MlflowServer, token: str, path: str = EXPERIMENTS) -> requests.Response:
    """One call of a program; while a key is being fetched it comes again, as MLflow's client does."""
    for _ in range(15):
        answer = mlflow.call("GET", path, token=token)
        if answer.status_code != 503:
            break
        time.sleep(float(answer.headers["Retry-After"]))
    return answer


class Cases:
    """One provider, one MLflow before which people and programs stand."""

    # The four cases.

    def test_a_browser_without_a_session_goes_to_the_provider_and_back_to_its_page(
        self, page: Page, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        page.goto(f"{mlflow.url}/?x=1#/experiments", wait_until="commit")
        real.wait_for_form(page)
        assert urlsplit(page.url)[:2] == urlsplit(real.issuer)[:2], page.url
        real.sign_in(page, ALICE)
        page.wait_for_url(f"{mlflow.url}/?x=1#/experiments**")
        expect(page.get_by_text("Default").first).to_be_visible()
        said = session_of(page, mlflow)
        assert said is not None
        assert said["username"] == real.username(ALICE)
        assert said["issuer"] == real.issuer
        # MLflow's page goes on drawing for a moment; the picture is for people to look at.
        page.wait_for_timeout(1000)
        shoot(page, real.name)

    def test_later_pages_and_calls_of_mlflows_page_are_that_person(
        self, page: Page, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        log_in(page, real, mlflow, BOB)
        seen: list[tuple[int, str]] = []
        page.on("response", lambda answer: seen.append((answer.status, answer.url)))
        page.goto(f"{mlflow.url}/#/experiments/0")
        page.reload()
        page.wait_for_timeout(1500)
        asked = [(status, url) for status, url in seen if "/ajax-api/" in url]
        assert len(asked) >= 3, seen
        assert not [one for one in seen if one[0] in (401, 500)]
        assert not [url for _, url in seen if not url.startswith(mlflow.url)], "back at the provider"

    @pytest.mark.needs("user_token", "groups")
    def test_a_program_with_a_token_is_that_person_at_once(
        self, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        answer = by_token(mlflow, real.user_token(BOB), "/api/2.0/mlflow/users/current")
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"]["username"] == real.username(BOB)
        wire.refusal(mlflow.call("GET", EXPERIMENTS), 401, "no_credentials")

    @pytest.mark.needs("user_token", "groups")
    def test_the_mlflow_client_logs_a_run_with_a_token(
        self, real: RealProvider, mlflow: MlflowServer, tmp_path: Path
    ) -> None:
        name = f"run-{uuid.uuid4().hex}"
        told = venvs.output(
            mlflow.version,
            "log_run.py",
            name,
            home=tmp_path,
            MLFLOW_TRACKING_URI=mlflow.url,
            MLFLOW_TRACKING_TOKEN=real.user_token(BOB),
        )
        said = json.loads(told.splitlines()[-1])
        assert said["metrics"] == {"loss": 0.5}
        assert said["same_bytes"] is True
        assert said["status"] == "FINISHED"

    # Who may do what.

    @pytest.mark.needs("groups")
    def test_an_administrator_is_one_in_mlflow(
        self, page: Page, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        log_in(page, real, mlflow, ALICE)
        said = current_user(page, mlflow)
        assert (said["username"], said["is_admin"]) == (real.username(ALICE), True)
        assert admin_only_call(page, mlflow) == 200

    @pytest.mark.needs("groups")
    def test_a_plain_user_is_none(self, page: Page, real: RealProvider, mlflow: MlflowServer) -> None:
        log_in(page, real, mlflow, BOB)
        said = current_user(page, mlflow)
        assert (said["username"], said["is_admin"]) == (real.username(BOB), False)
        assert admin_only_call(page, mlflow) == 403

    @pytest.mark.needs("groups")
    def test_whoever_is_in_no_group_reads_which_one_is_missing(
        self, page: Page, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        refused_by_group(page, real, mlflow, CAROL)

    @pytest.mark.needs("groups", "user_token")
    def test_a_program_of_somebody_in_no_group_is_told_the_same(
        self, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        answer = by_token(mlflow, real.user_token(CAROL))
        said = wire.refusal(answer, 403, *real.refusals_of_strangers)
        assert USERS in said["message"]

    @pytest.mark.needs("groups", "set_groups")
    def test_groups_that_change_are_seen_at_the_next_login(
        self, new_page: NewPage, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        """Into the administrators, out of everything, and back among the plain users."""
        real.set_groups(BOB, (USERS, ADMINS))
        first = new_page()
        log_in(first, real, mlflow, BOB)
        assert current_user(first, mlflow)["is_admin"] is True
        assert admin_only_call(first, mlflow) == 200
        real.set_groups(BOB, ())
        refused_by_group(new_page(), real, mlflow, BOB)
        assert mlflow.is_admin(real.username(BOB)) is False
        before = first.context.request.get(mlflow.url + EXPERIMENTS)
        assert before.status == 401, "the session of before goes on"
        real.set_groups(BOB, (USERS,))
        last = new_page()
        log_in(last, real, mlflow, BOB)
        assert current_user(last, mlflow)["is_admin"] is False
        assert admin_only_call(last, mlflow) == 403

    # The end of a session.

    @pytest.mark.needs("backchannel")
    def test_signing_out_at_the_provider_ends_mlflows_session(
        self, page: Page, new_page: NewPage, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        """By back-channel logout, and nobody else's session with it."""
        other = new_page()
        log_in(other, real, mlflow, ALICE)
        log_in(page, real, mlflow, BOB)
        assert session_of(page, mlflow) is not None
        real.sign_out(page)
        deadline = time.monotonic() + 10
        while session_of(page, mlflow) is not None:
            assert time.monotonic() < deadline, "MLflow's session goes on"
            time.sleep(0.1)
        assert session_of(other, mlflow) is not None

    @pytest.mark.needs("rp_logout")
    def test_signing_out_of_mlflow_ends_the_providers_session(
        self, page: Page, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        """After it the provider asks for the password again, and before it did not."""
        log_in(page, real, mlflow, BOB)
        page.context.clear_cookies(name="mlflow_oidc")
        assert session_of(page, mlflow) is None
        page.goto(mlflow.url, wait_until="commit")
        page.wait_for_url(f"{mlflow.url}/**")
        expect(page.get_by_text("Default").first).to_be_visible()
        assert session_of(page, mlflow) is not None, "the provider's own session let nobody in"
        page.goto(f"{mlflow.url}/oidc/logout")
        page.click("form button")
        real.confirm_sign_out(page)
        page.wait_for_url(f"{mlflow.url}/oidc/logout**")
        assert session_of(page, mlflow) is None
        page.goto(mlflow.url, wait_until="commit")
        real.wait_for_form(page)

    # Clients of other kinds.

    @pytest.mark.needs("service_token")
    def test_a_service_account_with_client_credentials_gets_in(
        self, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        answer = by_token(mlflow, real.service_token(), "/api/2.0/mlflow/users/current")
        assert answer.status_code == 200, answer.text
        said = answer.json()["user"]
        assert (said["username"], said["is_admin"]) == (real.service_username, False)

    @pytest.mark.needs("public_client")
    def test_a_public_client_has_pkce_alone(
        self, page: Page, real: RealProvider, public_mlflow: MlflowServer
    ) -> None:
        assert "OIDC_CLIENT_SECRET" not in real.settings_of_public_client()
        log_in(page, real, public_mlflow, BOB)
        assert current_user(page, public_mlflow)["username"] == real.username(BOB)

    # Keys. At the end, since nothing turns them back.

    @pytest.mark.needs("rotate_keys", "user_token")
    def test_keys_that_change_while_mlflow_runs(
        self, page: Page, real: RealProvider, mlflow: MlflowServer
    ) -> None:
        """A new key counts at once, the old one for as long as it is published, and not after that."""
        old = real.user_token(BOB)
        assert by_token(mlflow, old).status_code == 200
        real.rotate_keys()
        new = real.user_token(BOB)
        assert tokens.header_of(new)["kid"] != tokens.header_of(old)["kid"]
        assert by_token(mlflow, new).status_code == 200
        assert by_token(mlflow, old).status_code == 200
        log_in(page, real, mlflow, BOB)
        real.rotate_keys()
        real.remove_old_keys()
        # A token of the newest key has the keys fetched, and with that the old ones are gone here too.
        newest = real.user_token(BOB)
        assert by_token(mlflow, newest).status_code == 200
        for withdrawn in (old, new):
            wire.refusal(by_token(mlflow, withdrawn), 401, "token_key_unknown")
