"""Keycloak: the oldest that is promised, and the newest. All tokens here were issued by Keycloak itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Serve, running
from playwright.sync_api import Page, expect

from cases import EXPERIMENTS, Cases, by_token, current_user, log_in, session_of
from support import ports, tokens, wire
from support.real import BOB, USERS, Homes, Person, RealProvider
from support.real.keycloak import JAVAS, Keycloak
from support.real.keycloak_admin import audience_mapper, groups_mapper
from support.server import MlflowServer

# Where a program's code flow ends: nothing is there, and nothing opens it.
NOWHERE = "http://127.0.0.1/never-opened"
# Their rights are roles of the realm, of the client, and of a client whose id has dots in it.
DORA, ERIN, FRED = (Person(name, ()) for name in ("dora", "erin", "fred"))
DOTTED = "mlflow.team.one"
ROLES_OF_DOTTED = f"resource_access.{DOTTED}.roles"
# In a group of a group.
GINA = Person("gina", ())
NESTED = "company/science"
# Somebody whose address nobody has verified, and somebody who has none.
HEIN, IRIS = Person("hein", (USERS,)), Person("iris", (USERS,))

# The first of all waits for `kc.sh build` and a start, which take a minute and more on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=JAVAS)
def real(
    request: pytest.FixtureRequest, homes: Homes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealProvider]:
    yield from running(Keycloak(request.param, homes, tmp_path_factory.mktemp("keycloak-")))


@pytest.fixture(scope="module")
def keycloak(real: RealProvider) -> Keycloak:
    """The same with the people and clients of this file."""
    assert isinstance(real, Keycloak)
    realm = real.realm
    for person in (DORA, ERIN, FRED, GINA):
        realm.make_person(person)
    realm.make_person(HEIN, emailVerified=False, groups=[f"/{USERS}"])
    if not real.version.startswith("20."):
        realm.make_addresses_optional()
    realm.make_person(IRIS, email="", emailVerified=False, groups=[f"/{USERS}"])
    realm.make_role(USERS)
    realm.give_role(DORA.name, USERS)
    realm.make_client(DOTTED)
    for person, client in ((ERIN, "mlflow"), (FRED, DOTTED)):
        realm.make_role(USERS, client)
        realm.give_role(person.name, USERS, client)
    realm.make_group(NESTED)
    realm.make_group(f"company/{USERS}")
    realm.put_into(GINA.name, NESTED)
    realm.put_into(GINA.name, f"company/{USERS}")
    # A program that people use: its tokens are for MLflow, and carry all roles, but not the groups.
    realm.make_program("programs", audience_mapper("mlflow"))
    return real


@pytest.fixture(scope="module")
def roles_mlflow(keycloak: Keycloak, serve: Serve) -> MlflowServer:
    """Another MLflow of the same client: groups are roles as well, and people go by their user names."""
    home = f"http://127.0.0.1:{ports.free()}"
    uris = keycloak.realm.client("mlflow")["redirectUris"]
    keycloak.realm.change_client("mlflow", redirectUris=[*uris, f"{home}/oidc/callback"])
    # The example's tokens carry no roles but the client's own.
    keycloak.realm.put_into_scope("mlflow", USERS)
    keycloak.realm.put_into_scope("mlflow", USERS, DOTTED)
    settings = {
        **keycloak.settings(),
        "OIDC_GROUPS_CLAIM": f"groups,realm_access.roles,resource_access.mlflow.roles,{ROLES_OF_DOTTED}",
        "OIDC_USER_GROUP": f"{USERS},{NESTED}",
        "OIDC_USERNAME_CLAIM": "preferred_username",
    }
    return serve(home, settings)


# Within how many seconds Keycloak is asked again about who is signed in.
PERIOD = 6


@pytest.fixture(scope="module")
def asking_mlflow(keycloak: Keycloak, serve: Serve) -> MlflowServer:
    """Another MLflow of the same client. Keycloak sends its back-channel logouts elsewhere, and a worker
    remembers a session for as long as usual."""
    home = f"http://127.0.0.1:{ports.free()}"
    uris = keycloak.realm.client("mlflow")["redirectUris"]
    keycloak.realm.change_client("mlflow", redirectUris=[*uris, f"{home}/oidc/callback"])
    settings = {"OIDC_SESSION_RECHECK": f"{PERIOD}s", "OIDC_SESSION_CACHE_SECONDS": "5"}
    return serve(home, {**keycloak.settings(), **settings})


def program_token(keycloak: Keycloak, person: Person, client: str = "programs", **flow: str) -> str:
    token: str = keycloak.realm.tokens(client, person, NOWHERE, **flow)["access_token"]
    return token


class TestKeycloak(Cases):
    """The cases of all providers."""


class TestTokenShapes:
    """What Keycloak puts into its tokens, by how its clients are configured."""

    def test_without_an_audience_mapper_it_is_refused_and_told_what_to_do(
        self, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        keycloak.realm.make_program("no-audience", groups_mapper())
        token = program_token(keycloak, BOB, "no-audience")
        assert tokens.claims_of(token)["aud"] == "account"
        said = wire.refusal(by_token(mlflow, token), 401, "token_audience")
        for word in ("mlflow", "account", "Audience"):
            assert word in said["message"], said

    def test_with_an_audience_mapper_a_token_of_another_client_is_good(
        self, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        """`azp` names who asked for it, and that need not be us."""
        keycloak.realm.make_program("another", groups_mapper(), audience_mapper("mlflow"))
        token = program_token(keycloak, BOB, "another")
        claims = tokens.claims_of(token)
        assert (set(claims["aud"]), claims["azp"]) == ({"mlflow", "account"}, "another")
        assert by_token(mlflow, token).status_code == 200

    @pytest.mark.parametrize(
        ("person", "where"),
        [(DORA, "realm_access.roles"), (ERIN, "resource_access.mlflow.roles"), (FRED, ROLES_OF_DOTTED)],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_roles_are_groups_where_the_settings_say_so(
        self, keycloak: Keycloak, mlflow: MlflowServer, roles_mlflow: MlflowServer, person: Person, where: str
    ) -> None:
        token = program_token(keycloak, person)
        assert USERS in str(tokens.claims_of(token)[where.split(".")[0]])
        assert by_token(roles_mlflow, token).status_code == 200
        wire.refusal(by_token(mlflow, token), 403, "groups_missing", "group_required")

    @pytest.mark.parametrize(
        ("person", "where"),
        [(DORA, "realm_access.roles"), (ERIN, "resource_access.mlflow.roles"), (FRED, ROLES_OF_DOTTED)],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_roles_count_at_a_login_too_though_only_the_access_token_has_them(
        self, page: Page, keycloak: Keycloak, roles_mlflow: MlflowServer, person: Person, where: str
    ) -> None:
        given = keycloak.realm.tokens("mlflow", person, f"{roles_mlflow.url}/oidc/callback")
        first = where.split(".")[0]
        assert first not in tokens.claims_of(given["id_token"])
        assert USERS in str(tokens.claims_of(given["access_token"])[first])
        log_in(page, keycloak, roles_mlflow, person)
        assert current_user(page, roles_mlflow)["username"] == person.name

    def test_a_group_of_a_group_is_its_path(
        self, keycloak: Keycloak, mlflow: MlflowServer, roles_mlflow: MlflowServer
    ) -> None:
        """`/company/MLFLOW` is not MLFLOW: who may make groups below their own makes no member of ours."""
        keycloak.realm.make_program("paths", groups_mapper(), audience_mapper("mlflow"))
        token = program_token(keycloak, GINA, "paths")
        assert set(tokens.claims_of(token)["groups"]) == {f"/{NESTED}", f"/company/{USERS}"}
        wire.refusal(by_token(mlflow, token), 403, "group_required")
        assert by_token(roles_mlflow, token).status_code == 200

    def test_without_full_paths_a_group_of_a_group_has_the_same_name(
        self, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        """Keycloak's own doing, and why the example has full paths."""
        keycloak.realm.make_program("names", groups_mapper(full_path=False), audience_mapper("mlflow"))
        token = program_token(keycloak, GINA, "names")
        assert USERS in tokens.claims_of(token)["groups"]
        assert by_token(mlflow, token).status_code == 200

    def test_refresh_and_offline_tokens_open_nothing(self, keycloak: Keycloak, mlflow: MlflowServer) -> None:
        for scope in ("openid", "openid offline_access"):
            given = keycloak.realm.tokens("programs", BOB, NOWHERE, scope=scope)
            token = given["refresh_token"]
            assert tokens.claims_of(token)["typ"] == ("Offline" if "offline" in scope else "Refresh")
            wire.refusal(by_token(mlflow, token), 401, "token_type", "token_algorithm")

    def test_an_id_token_of_another_client_opens_nothing(
        self, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        given = keycloak.realm.tokens("programs", BOB, NOWHERE)
        assert tokens.claims_of(given["id_token"])["aud"] == "programs"
        wire.refusal(by_token(mlflow, given["id_token"]), 401, "token_audience")

    def test_a_token_of_another_realm_opens_nothing(self, keycloak: Keycloak, mlflow: MlflowServer) -> None:
        """Its signature and its audience are good, in its own realm."""
        other = keycloak.other_realm()
        other.make_person(BOB)
        other.make_program("programs", audience_mapper("mlflow"))
        given = other.tokens("programs", BOB, NOWHERE)
        assert tokens.claims_of(given["access_token"])["iss"] == other.issuer
        wire.refusal(by_token(mlflow, given["access_token"]), 401, "token_issuer")

    def test_lightweight_access_tokens_carry_what_is_asked_of_them(
        self, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        if keycloak.version.startswith("20."):
            pytest.skip("not there: Keycloak 20 has no lightweight access tokens")
        light: dict[str, Any] = {"attributes": {"client.use.lightweight.access.token.enabled": "true"}}
        plain = (groups_mapper(), audience_mapper("mlflow"))
        keycloak.realm.make_program("light", *plain, **light)
        token = program_token(keycloak, BOB, "light")
        assert not {"sub", "aud", "email", "groups"} & set(tokens.claims_of(token))
        wire.refusal(by_token(mlflow, token), 401, "token_audience")
        # Also `sub`, which Keycloak leaves out as well.
        scopes = (("basic", "sub"), ("email", "email"), ("email", "email verified"))
        mappers = (*plain, *(keycloak.realm.mapper_of_scope(*scope) for scope in scopes))
        asked = [{**one, "config": {**one["config"], "lightweight.claim": "true"}} for one in mappers]
        keycloak.realm.make_program("light-and-good", *asked, **light)
        token = program_token(keycloak, BOB, "light-and-good")
        assert {"sub", "aud", "email", "email_verified", "groups"} <= set(tokens.claims_of(token))
        assert by_token(mlflow, token).status_code == 200


class TestNames:
    """By which claim people are known, and what Keycloak says of their addresses."""

    def test_an_address_that_nobody_has_verified_is_nobodys(
        self, page: Page, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        refused(page, keycloak, mlflow, HEIN, "email_unverified")
        assert mlflow.user(HEIN.email) is None

    def test_somebody_without_an_address_reads_which_claim_is_missing(
        self, page: Page, keycloak: Keycloak, mlflow: MlflowServer
    ) -> None:
        refused(page, keycloak, mlflow, IRIS, "username_missing")
        expect(page.locator("body")).to_contain_text("OIDC_USERNAME_CLAIM")

    @pytest.mark.parametrize("person", [HEIN, IRIS, BOB], ids=lambda person: person.name)
    def test_with_user_names_addresses_do_not_matter(
        self, page: Page, keycloak: Keycloak, roles_mlflow: MlflowServer, person: Person
    ) -> None:
        log_in(page, keycloak, roles_mlflow, person)
        assert current_user(page, roles_mlflow)["username"] == person.name


def refused(page: Page, keycloak: Keycloak, mlflow: MlflowServer, person: Person, code: str) -> None:
    page.goto(mlflow.url, wait_until="commit")
    keycloak.wait_for_form(page)
    keycloak.sign_in(page, person)
    page.wait_for_url(f"{mlflow.url}/oidc/callback**")
    expect(page.locator("body")).to_contain_text(code)
    assert session_of(page, mlflow) is None


class TestAskedAgain:
    """Somebody who stays signed in, while things change at Keycloak. It gives refresh tokens unasked."""

    def test_a_session_goes_on_and_the_browser_is_never_sent_away(
        self, page: Page, keycloak: Keycloak, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, keycloak, asking_mlflow, BOB)
        seen: list[str] = []
        page.on("request", lambda request: seen.append(request.url))
        (before,) = checked(asking_mlflow, BOB)
        for _ in range(3 * PERIOD):
            assert status_of(page, asking_mlflow) == 200
            page.wait_for_timeout(1000)
        page.goto(asking_mlflow.url)
        (after,) = checked(asking_mlflow, BOB)
        assert after >= before + 2 * PERIOD
        assert not [url for url in seen if url.startswith(keycloak.issuer)]
        assert "could not be refreshed" not in asking_mlflow.log_text()

    def test_who_leaves_the_group_is_out_in_time_without_a_login(
        self, page: Page, new_page: Callable[[], Page], keycloak: Keycloak, asking_mlflow: MlflowServer
    ) -> None:
        phone = new_page()
        for one in (page, phone):
            log_in(one, keycloak, asking_mlflow, BOB)
            expect(one.get_by_text("Default").first).to_be_visible()
        keycloak.set_groups(BOB, ())
        took = out_after(page, asking_mlflow)
        assert took <= PERIOD + 3, took
        # The other browser has never asked since: all sessions of the person are over.
        assert checked(asking_mlflow, BOB) == []
        assert status_of(phone, asking_mlflow) == 401
        page.goto(asking_mlflow.url)
        expect(page.locator("p.code")).to_have_text(re.compile("|".join(keycloak.refusals_of_strangers)))
        expect(page.locator("body")).to_contain_text(USERS)

    def test_a_page_that_was_left_alone_says_which_group_is_missing(
        self, page: Page, keycloak: Keycloak, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, keycloak, asking_mlflow, BOB)
        page.goto("about:blank")
        keycloak.set_groups(BOB, ())
        page.wait_for_timeout(PERIOD * 1000 + 500)
        answer = page.goto(asking_mlflow.url)
        assert answer is not None
        assert answer.status == 403
        expect(page.locator("body")).to_contain_text(USERS)

    def test_whose_session_an_administrator_of_keycloak_ends_is_out_in_time(
        self, page: Page, keycloak: Keycloak, asking_mlflow: MlflowServer
    ) -> None:
        log_in(page, keycloak, asking_mlflow, BOB)
        expect(page.get_by_text("Default").first).to_be_visible()
        keycloak.realm.end_sessions(BOB.name)
        assert status_of(page, asking_mlflow) == 200, "Keycloak has told somebody else"
        took = out_after(page, asking_mlflow)
        assert took <= PERIOD + 3, took
        page.goto(asking_mlflow.url, wait_until="commit")
        keycloak.wait_for_form(page)


def status_of(page: Page, mlflow: MlflowServer) -> int:
    """What a call of MLflow's page is answered now."""
    return page.context.request.get(mlflow.url + EXPERIMENTS, headers={"Sec-Fetch-Mode": "cors"}).status


def out_after(page: Page, mlflow: MlflowServer) -> float:
    """For how many seconds somebody goes on who is in use all the time."""
    began = time.monotonic()
    while (status := status_of(page, mlflow)) == 200:
        assert time.monotonic() - began < 30, "still in"
        time.sleep(0.2)
    assert status in (401, 403), status
    return time.monotonic() - began


def checked(mlflow: MlflowServer, person: Person) -> list[int]:
    """When Keycloak last vouched for each session of a person."""
    query = (
        "SELECT checked_at FROM oidc_sessions JOIN oidc_identities USING (issuer, subject) WHERE username = ?"
    )
    return [row[0] for row in mlflow.rows(query, person.email, database="basic_auth.db-oidc")]
