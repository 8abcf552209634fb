"""panva's oidc-provider goes through what every provider goes through.

It gives no refresh token to a client that asks for none, so who is signed in is asked about by their browser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import Serve, running
from playwright.sync_api import Page, expect

from cases import EXPERIMENTS, Cases, current_user, log_in
from support import ports
from support.real import ALICE, BOB, USERS, Homes, RealProvider
from support.real.oidc_provider import OidcProvider
from support.server import MlflowServer

# Within how many seconds the provider is asked again about who is signed in.
PERIOD = 12
DEEP = "/?x=1#/experiments/0"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> Iterator[RealProvider]:
    yield from running(OidcProvider(tmp_path_factory.mktemp("oidc-provider-"), homes))


class TestOidcProvider(Cases):
    """The cases of all providers."""


@pytest.fixture(scope="module")
def asking_mlflow(real: RealProvider, serve: Serve) -> MlflowServer:
    """Another MLflow with a client of its own, which hears of no logout."""
    assert isinstance(real, OidcProvider)
    home = f"http://127.0.0.1:{ports.free()}"
    real.process.put_client(
        "asking",
        client_secret=real.client_secret,
        token_endpoint_auth_method="client_secret_basic",
        redirect_uris=[f"{home}/oidc/callback"],
    )
    settings = {"OIDC_CLIENT_ID": "asking", "OIDC_SESSION_RECHECK": f"{PERIOD}s"}
    return serve(home, {**real.settings(), **settings, "OIDC_SESSION_CACHE_SECONDS": "5"})


def trips(page: Page, real: RealProvider) -> list[str]:
    """From now on: the prompt of each request by which this page's browser goes to the provider."""
    seen: list[str] = []

    def note(url: str) -> None:
        if url.startswith(f"{real.issuer}/auth?"):
            seen.append(parse_qs(urlsplit(url).query).get("prompt", ["usual"])[0])

    page.on("request", lambda request: note(request.url))
    return seen


def calls(page: Page) -> tuple[int, str]:
    """What a call of the page itself is answered."""
    script = """async path => { const answer = await fetch(path);
                return [answer.status, (await answer.json()).code || ""] }"""
    status, code = page.evaluate(script, EXPERIMENTS)
    return status, code


class TestSilentTrip:
    """A session without a refresh token."""

    def test_a_page_that_is_loaded_goes_there_and_back_without_anybody_noticing(
        self, page: Page, real: RealProvider, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, real, asking_mlflow, BOB, DEEP)
        expect(page.get_by_text("Default").first).to_be_visible()
        seen = trips(page, real)
        page.reload()
        assert seen == [], "it is not time yet"
        (before,) = page.context.cookies()[:1]
        page.wait_for_timeout(PERIOD * 500 + 500)
        page.reload()
        page.wait_for_url(f"{asking_mlflow.url}{DEEP}**")
        expect(page.get_by_text("Default").first).to_be_visible()
        assert seen == ["none"]
        assert current_user(page, asking_mlflow)["username"] == BOB.email
        assert before["value"] not in {cookie["value"] for cookie in page.context.cookies(asking_mlflow.url)}

    def test_calls_are_told_to_load_the_page_and_that_is_all_it_takes(
        self, page: Page, real: RealProvider, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, real, asking_mlflow, BOB, DEEP)
        page.wait_for_timeout(PERIOD * 500 + 500)
        assert calls(page) == (200, ""), "half of the time is left"
        page.wait_for_timeout(PERIOD * 500)
        assert calls(page) == (401, "session_recheck")
        seen = trips(page, real)
        page.reload()
        page.wait_for_url(f"{asking_mlflow.url}{DEEP}**")
        assert calls(page) == (200, "")
        assert seen == ["none"]

    def test_tabs_that_are_loaded_at_once_all_come_back_to_their_places(
        self, page: Page, real: RealProvider, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, real, asking_mlflow, BOB, DEEP)
        page.wait_for_timeout(PERIOD * 1000 + 500)
        others = [page.context.new_page() for _ in range(3)]
        for number, other in enumerate(others):
            # It begins, and nobody waits for its end.
            other.goto(f"{asking_mlflow.url}/?tab={number}#/experiments/0", wait_until="commit")
        for number, other in enumerate(others):
            other.wait_for_url(f"{asking_mlflow.url}/?tab={number}#/experiments/0**")
            expect(other.get_by_text("Default").first).to_be_visible()
            assert calls(other) == (200, "")

    def test_who_has_left_the_provider_is_asked_once_and_may_be_somebody_else(
        self, page: Page, real: RealProvider, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, real, asking_mlflow, BOB, DEEP)
        real.sign_out(page)
        page.wait_for_timeout(PERIOD * 500 + 500)
        seen = trips(page, real)
        page.goto(asking_mlflow.url + DEEP, wait_until="commit")
        real.wait_for_form(page)
        assert seen == ["none", "usual"]
        query = "SELECT count(*) FROM oidc_sessions JOIN oidc_identities USING (subject) WHERE username = ?"
        sessions = asking_mlflow.rows(query, BOB.email, database="basic_auth.db-oidc")
        real.sign_in(page, ALICE)
        page.wait_for_url(f"{asking_mlflow.url}{DEEP}**")
        assert current_user(page, asking_mlflow)["username"] == ALICE.email
        after = asking_mlflow.rows(query, BOB.email, database="basic_auth.db-oidc")
        assert after == sessions

    def test_who_has_left_the_group_reads_its_name(
        self, page: Page, new_page: Callable[[], Page], real: RealProvider, asking_mlflow: MlflowServer
    ) -> None:
        phone = new_page()
        for one in (page, phone):
            log_in(one, real, asking_mlflow, BOB)
        real.set_groups(BOB, ())
        page.wait_for_timeout(PERIOD * 500 + 500)
        page.goto(asking_mlflow.url)
        page.wait_for_url("**/oidc/callback**")
        expect(page.locator("p.code")).to_have_text("Code: group_required")
        expect(page.locator("body")).to_contain_text(USERS)
        assert calls(phone)[0] == 401, "all sessions of the person are over"

    def test_while_the_provider_is_gone_nobody_is_sent_there_and_nobody_is_out(
        self, page: Page, real: RealProvider, asking_mlflow: MlflowServer
    ) -> None:
        assert isinstance(real, OidcProvider)
        log_in(page, real, asking_mlflow, BOB, DEEP)
        expect(page.get_by_text("Default").first).to_be_visible()
        real.process.stop()
        try:
            # What was heard of the provider has to be a minute old before anybody looks.
            page.wait_for_timeout(61_000)
            seen = trips(page, real)
            for _ in range(3):
                page.reload()
                expect(page.get_by_text("Default").first).to_be_visible()
                assert calls(page) == (200, "")
            assert seen == []
            assert asking_mlflow.log_text().count("the provider cannot be asked about sessions") == 1
        finally:
            real.process.start()
        # It has forgotten who was signed in: now they are asked.
        page.wait_for_timeout(30_000)
        page.reload(wait_until="commit")
        real.wait_for_form(page)
