"""What only a strict, certified provider shows: panva's takes nothing that the standard does not allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests
from conftest import running

from support import tokens, wire
from support.engines import Engines
from support.real import ALICE, CAROL, USERS, Homes, Person, RealProvider
from support.real.oidc_provider import API, SCOPES, OidcProvider, Process
from support.real.visitor import Visitor, changed, member
from support.server import MakeServer

# Form-encoded before they are joined in the header (RFC 6749 section 2.3.1), or they are misread.
CLIENT = "mlflow: 50%+1 of us"
SECRET = "a:b%41+c d&e=f?g/h\"i'j-and-long-enough"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
BOTH = ["client_secret_basic", "client_secret_post", "none"]

Client = Callable[..., None]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> Iterator[RealProvider]:
    yield from running(OidcProvider(tmp_path_factory.mktemp("oidc-provider-"), homes))


@pytest.fixture(scope="module")
def strict(real: OidcProvider) -> Process:
    return real.process


@pytest.fixture(scope="module")
def engines(make_module_server: MakeServer, strict: Process) -> Engines:
    return Engines(make_module_server, "3.17.2", strict.issuer, secrets=(SECRET,))


@pytest.fixture
def client(strict: Process, engines: Engines) -> Client:
    """Registers MLflow at the provider, and has MLflow know it."""

    def register(settings: dict[str, str | None] | None = None, **metadata: object) -> None:
        url = engines.server.url
        made = {
            "client_secret": SECRET,
            "redirect_uris": [f"{url}/oidc/callback"],
            "post_logout_redirect_uris": [f"{url}/oidc/logout"],
            "backchannel_logout_uri": f"{url}/oidc/backchannel-logout",
        }
        strict.put_client(CLIENT, **(made | metadata))
        ours = {
            "OIDC_ISSUER_URL": strict.issuer,
            "OIDC_CLIENT_ID": CLIENT,
            "OIDC_CLIENT_SECRET": SECRET,
            "OIDC_SCOPES": SCOPES,
            "OIDC_USER_GROUP": USERS,
            "OIDC_SESSION_CACHE_SECONDS": "0",
            **(settings or {}),
        }
        engines.fresh({name: value for name, value in ours.items() if value is not None})

    strict.tell(
        keys=[{"kid": "first-RS256", "alg": "RS256"}],
        conformIdTokenClaims=True,
        askConsent=False,
        clientAuthMethods=BOTH,
    )
    return register


class Somebody(Visitor):
    """A person at the strict provider who wants to use MLflow."""

    def __init__(self, mlflow: str) -> None:
        super().__init__()
        self.mlflow = mlflow

    def begin(self) -> requests.Response:
        """The provider's login form."""
        return self.open(f"{self.mlflow}/oidc/login?next=%2F&go=1")

    def log_in(self, person: Person = ALICE) -> requests.Response:
        return self.submit(self.begin(), **typed(person))

    def answer(self) -> str:
        """The address that the provider sends the browser back to, not opened yet."""
        page = self.open(f"{self.mlflow}/oidc/login?next=%2F&go=1", stop=self._is_callback)
        if not self._is_callback(self.at):
            self.submit(page, stop=self._is_callback, **typed(ALICE))
        assert self._is_callback(self.at), self.at
        return self.at

    def _is_callback(self, address: str) -> bool:
        return address.startswith(f"{self.mlflow}/oidc/callback?")

    def username(self) -> str | None:
        """Who is signed in at MLflow."""
        said = self.session(self.mlflow)
        return None if said is None else str(said["username"])


@pytest.fixture
def somebody(engines: Engines) -> Somebody:
    return Somebody(engines.server.url)


def typed(person: Person) -> dict[str, str]:
    """What a person writes into the provider's form."""
    return {"login": person.name, "password": person.password, "action": "continue"}


def refused(page: requests.Response, status: int, code: str) -> str:
    assert (page.status_code, f"Code: {code}" in page.text) == (status, True), page.text[-900:]
    return page.text


def test_credentials_with_signs_of_every_kind(client: Client, strict: Process, somebody: Somebody) -> None:
    client(token_endpoint_auth_method="client_secret_basic")
    assert somebody.log_in().status_code == 200
    assert somebody.username() == ALICE.email


def test_credentials_in_the_form(client: Client, strict: Process, somebody: Somebody) -> None:
    strict.tell(clientAuthMethods=["client_secret_post"])
    client(token_endpoint_auth_method="client_secret_post")
    assert somebody.log_in().status_code == 200
    assert somebody.username() == ALICE.email


def test_a_client_without_a_secret(client: Client, strict: Process, somebody: Somebody) -> None:
    client(
        {"OIDC_CLIENT_SECRET": None, "OIDC_SESSION_SECRET": "of-this-test-0123456789"},
        token_endpoint_auth_method="none",
        client_secret=None,
    )
    assert somebody.log_in().status_code == 200
    assert somebody.username() == ALICE.email


@pytest.mark.parametrize("place", ["the UserInfo answer", "the ID token"])
def test_groups_are_found_wherever_the_provider_puts_them(
    client: Client, strict: Process, somebody: Somebody, place: str
) -> None:
    strict.tell(conformIdTokenClaims=place != "the ID token")
    client()
    assert somebody.log_in().status_code == 200
    assert somebody.username() == ALICE.email


def test_a_signed_userinfo_answer(client: Client, somebody: Somebody) -> None:
    """Only a client that is registered for it gets one, and MLflow must not be."""
    client(userinfo_signed_response_alg="RS256")
    refused(somebody.log_in(), 502, "provider_answer")
    assert somebody.username() is None


def test_groups_that_were_not_asked_for(client: Client, strict: Process, somebody: Somebody) -> None:
    client({"OIDC_SCOPES": None})
    page = refused(somebody.log_in(), 403, "groups_missing")
    assert "OIDC_GROUPS_CLAIM" in page


def test_somebody_in_no_group_reads_so(client: Client, somebody: Somebody) -> None:
    client()
    refused(somebody.log_in(CAROL), 403, "group_required")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"])
def test_an_id_token_of_every_algorithm(
    client: Client, strict: Process, somebody: Somebody, algorithm: str
) -> None:
    strict.tell(keys=[{"kid": "first-RS256", "alg": "RS256"}, {"kid": f"key-{algorithm}", "alg": algorithm}])
    client(id_token_signed_response_alg=algorithm)
    page = somebody.log_in()
    assert page.status_code == 200, page.text[-900:]
    assert somebody.username() == ALICE.email


def test_a_code_of_another_login(client: Client, engines: Engines, somebody: Somebody) -> None:
    """Code injection: the PKCE verifier of this login does not fit the code of another one."""
    client()
    stolen = member(somebody.answer(), "code")
    victim = Somebody(engines.server.url)
    refused(victim.open(changed(victim.answer(), code=stolen)), 502, "provider_error")
    assert "invalid_grant" in engines.server.log_tail(3)
    assert victim.username() is None


def test_a_code_for_the_second_time(client: Client, engines: Engines, somebody: Somebody) -> None:
    client()
    first = somebody.answer()
    assert somebody.open(first).status_code == 200
    # The same answer once more: somebody pressed reload.
    assert somebody.open(first).status_code == 200
    assert somebody.username() == ALICE.email
    # The code under the state of a new login.
    again = changed(somebody.answer(), code=member(first, "code"))
    refused(somebody.open(again), 502, "provider_error")
    assert "invalid_grant" in engines.server.log_tail(3)
    assert somebody.username() == ALICE.email, "the session that is there stays"


@pytest.mark.parametrize("issuer", ["none", "https://mix-up.example"])
def test_an_answer_says_who_answers(client: Client, somebody: Somebody, issuer: str) -> None:
    client()
    answer = somebody.answer()
    assert member(answer, "iss")
    refused(somebody.open(changed(answer, iss=None if issuer == "none" else issuer)), 400, "callback_issuer")
    assert somebody.username() is None


def test_a_person_presses_cancel(client: Client, somebody: Somebody) -> None:
    client()
    page = refused(somebody.submit(somebody.begin(), action="cancel"), 403, "login_denied")
    assert "the person pressed Cancel" in page
    assert somebody.username() is None
    assert somebody.log_in().status_code == 200, "and thinks again"


def test_a_person_is_asked_to_agree(client: Client, strict: Process, somebody: Somebody) -> None:
    strict.tell(askConsent=True)
    client()
    asked = somebody.log_in()
    assert f"asks for: {SCOPES}" in asked.text
    refused(somebody.submit(asked, action="cancel"), 403, "login_denied")
    # The provider knows who it is, and asks only whether they agree.
    assert somebody.submit(somebody.begin(), action="allow").status_code == 200
    assert somebody.username() == ALICE.email


def test_the_link_to_another_account_asks_again(client: Client, somebody: Somebody) -> None:
    """The link of a refusal asks the provider to ask again (`prompt=login`), although it knows somebody."""
    client()
    page = somebody.log_in(CAROL)
    refused(page, 403, "group_required")
    form = somebody.open(f"{somebody.mlflow}/oidc/login?go=1&again=1")
    # A page of the provider's that a browser with scripts sends by itself: it ends the other session.
    ending = somebody.submit(form, **typed(ALICE))
    assert somebody.submit(ending).status_code == 200
    assert somebody.username() == ALICE.email


def test_an_address_that_is_not_verified(client: Client, strict: Process, somebody: Somebody) -> None:
    client()
    eve = Person("eve", (USERS,))
    strict.put_person(eve.name, eve.password, email="boss@example.com", email_verified=False, groups=[USERS])
    refused(somebody.log_in(eve), 403, "email_unverified")


def test_a_program_needs_a_jwt_for_an_api_that_the_settings_name(
    client: Client, strict: Process, engines: Engines
) -> None:
    """A JWT for an API is good where the settings name that API; an opaque token never is."""
    strict.put_service("pipeline", "pipeline-secret", {"email": "pipeline@example.com", "groups": [USERS]})
    token = strict.service_token("pipeline", "pipeline-secret")
    assert tokens.header_of(token)["typ"] == "at+jwt"
    client()
    wire.refusal(engines.server.call("GET", SEARCH, token=token), 401, "token_audience")
    client({"OIDC_AUDIENCE": API})
    assert engines.server.call("GET", SEARCH, token=token).status_code == 200
    wire.refusal(engines.server.call("GET", SEARCH, token="an-opaque-one"), 401, "token_malformed")


@pytest.mark.parametrize("network", ["reached", "not reached"])
def test_a_sign_out_at_the_provider(
    client: Client, strict: Process, somebody: Somebody, network: str
) -> None:
    """Told through the back channel; by default oidc-provider tells nobody in a private network."""
    inside = network == "reached"
    strict.tell(reachInside=[f"{somebody.mlflow}/oidc/backchannel-logout"] if inside else [])
    client()
    told = strict.log.read_text().count("backchannel.error")
    somebody.log_in()
    assert somebody.username() == ALICE.email
    page = somebody.open(f"{strict.issuer}/session/end")
    assert somebody.submit(page, logout="yes").status_code == 200
    assert (somebody.username() is None) is inside
    assert (strict.log.read_text().count("backchannel.error") > told) is not inside


def test_a_sign_out_here_goes_on_to_the_provider(client: Client, strict: Process, somebody: Somebody) -> None:
    client()
    somebody.log_in()
    page = somebody.submit(somebody.open(f"{somebody.mlflow}/oidc/logout"))
    assert page.url.startswith(f"{strict.issuer}/session/end?"), page.url
    back = somebody.submit(page, logout="yes")
    assert back.url == f"{somebody.mlflow}/oidc/logout"
    assert "You are signed out" in back.text
    assert somebody.username() is None
    assert "password" in somebody.begin().text, "the provider has forgotten who it was"
