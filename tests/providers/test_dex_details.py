"""What is particular to Dex: local passwords, scopes, trust between clients, and no sign-out of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlencode, urljoin

import pytest
import requests
from conftest import running

from support import tokens, wire
from support.browser import links
from support.engines import Engines
from support.real import ADMINS, ALICE, USERS, Homes, RealProvider, token_answer
from support.real.dex import GUEST, SCOPES, SECRETS, Dex
from support.real.visitor import Visitor, changed, member
from support.server import MakeServer

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
PASSWORD = "correct horse"
NOWHERE = "http://127.0.0.1:9/never-called"
FOR_MLFLOW = "audience:server:client_id:mlflow"

Settle = Callable[..., None]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> Iterator[RealProvider]:
    """The example, where people can log in to `pipelines` too, which trusts MLflow as MLflow trusts it."""
    client = "  - id: pipelines\n"
    more = f"    redirectURIs: [{NOWHERE}]\n    trustedPeers: [mlflow]\n"
    yield from running(Dex(tmp_path_factory.mktemp("dex-"), homes, {client: client + more}))


@pytest.fixture(scope="module")
def dex(real: Dex) -> Dex:
    return real


@pytest.fixture(scope="module")
def engines(make_module_server: MakeServer, dex: Dex, homes: Homes) -> Engines:
    port = int(homes.confidential.rpartition(":")[2])
    return Engines(make_module_server, "3.17.2", dex.issuer, port=port, secrets=tuple(SECRETS.values()))


@pytest.fixture
def settings(engines: Engines, dex: Dex) -> Settle:
    """The recipe's settings, changed; None takes one out."""

    def settle(**changes: str | None) -> None:
        ours = {**dex.settings(), "OIDC_USER_GROUP": USERS, "OIDC_SESSION_CACHE_SECONDS": "0", **changes}
        engines.fresh({name: value for name, value in ours.items() if value is not None})

    return settle


class Somebody(Visitor):
    """A person with a browser before MLflow."""

    def __init__(self, mlflow: str) -> None:
        super().__init__()
        self.mlflow = mlflow

    def begin(self, connector: str) -> requests.Response:
        """Dex's page for choosing, and the form behind the choice."""
        page = self.open(f"{self.mlflow}/oidc/login?next=%2F&go=1")
        return self.choose(page, connector)

    def choose(self, page: requests.Response, connector: str) -> requests.Response:
        (link,) = (link for link in links(page) if f"/auth/{connector}?" in link)
        return self.open(urljoin(page.url, link))

    def as_guest(self) -> requests.Response:
        """At Dex's own form."""
        return self.submit(self.begin("local"), login=GUEST[0], password=GUEST[1])

    def log_in(self, login: str) -> requests.Response:
        """At the form of the company's provider, behind Dex."""
        return self.submit(self.begin("company"), login=login, password=PASSWORD, action="continue")

    def as_alice(self, page: requests.Response | None = None, stop: str | None = None) -> requests.Response:
        """The same as somebody whom every provider knows."""
        return self.submit(
            page or self.begin("company"),
            login=ALICE.name,
            password=ALICE.password,
            action="continue",
            stop=(lambda url: url.startswith(stop)) if stop else None,
        )

    def answer(self) -> str:
        """The address that Dex sends the browser back to, not opened yet."""
        self.as_alice(stop=f"{self.mlflow}/oidc/callback?")
        return self.at

    def username(self) -> str | None:
        said = self.session(self.mlflow)
        return None if said is None else str(said["username"])


@pytest.fixture
def somebody(engines: Engines) -> Somebody:
    return Somebody(engines.server.url)


def refused(page: requests.Response, status: int, code: str) -> str:
    assert (page.status_code, f"Code: {code}" in page.text) == (status, True), page.text[-900:]
    return page.text


def test_a_local_password_brings_no_groups(settings: Settle, somebody: Somebody) -> None:
    settings()
    assert USERS in refused(somebody.as_guest(), 403, "groups_missing")
    assert somebody.username() is None


def test_a_local_password_where_everybody_gets_in(settings: Settle, somebody: Somebody) -> None:
    settings(OIDC_USER_GROUP=None)
    assert somebody.as_guest().status_code == 200
    assert somebody.username() == GUEST[0]


@pytest.mark.parametrize(
    ("claim", "login", "name"),
    [
        ("name", "dora", "Dora"),
        ("federated_claims.user_id", "emil", "emil"),
        ("preferred_username", "fine", None),
    ],
)
def test_other_names_for_people(
    settings: Settle, dex: Dex, somebody: Somebody, claim: str, login: str, name: str | None
) -> None:
    """`preferred_username` is there only when the provider behind Dex tells one: this one tells none."""
    settings(OIDC_USERNAME_CLAIM=claim, OIDC_SCOPES=f"{SCOPES} federated:id")
    dex.company.put_person(login, PASSWORD, groups=[USERS])
    page = somebody.log_in(login)
    if name is None:
        refused(page, 403, "username_missing")
    assert somebody.username() == name


def test_groups_that_were_not_asked_for(settings: Settle, somebody: Somebody) -> None:
    settings(OIDC_SCOPES=None)
    refused(somebody.as_alice(), 403, "groups_missing")


def test_whoever_leaves_the_last_group_is_no_administrator_any_more(
    settings: Settle, dex: Dex, engines: Engines, somebody: Somebody
) -> None:
    """Dex leaves out the claim of somebody in no group, as if nobody had asked for it."""
    settings(OIDC_USER_GROUP=None, OIDC_ADMIN_GROUP=ADMINS)
    dex.company.put_person("gerd", PASSWORD, groups=[ADMINS])
    somebody.log_in("gerd")
    assert engines.server.is_admin("gerd@example.org") is True
    dex.company.put_person("gerd", PASSWORD, groups=[])
    assert Somebody(engines.server.url).log_in("gerd").status_code == 200
    assert engines.server.is_admin("gerd@example.org") is False


def test_an_address_that_somebody_has_at_another_connector(
    settings: Settle, dex: Dex, engines: Engines, somebody: Somebody
) -> None:
    """Dex's subject holds the connector: whoever chooses an address at one of them is nobody of another."""
    settings(OIDC_USER_GROUP=None)
    somebody.as_guest()
    assert somebody.username() == GUEST[0]
    dex.company.put_person("hans", PASSWORD, email=GUEST[0], groups=[USERS, ADMINS])
    refused(Somebody(engines.server.url).log_in("hans"), 403, "username_taken")


def test_another_account_is_not_asked_for(settings: Settle, dex: Dex, somebody: Somebody) -> None:
    """Dex 2.41 does not hand `prompt=login` on to the provider behind it, which knows who it is."""
    settings()
    dex.company.put_person("ida", PASSWORD, groups=[])
    refused(somebody.log_in("ida"), 403, "groups_missing")
    page = somebody.open(f"{somebody.mlflow}/oidc/login?go=1&again=1")
    refused(somebody.choose(page, "company"), 403, "groups_missing")


def test_an_id_token_for_two_of_which_one_is_mlflow(settings: Settle, somebody: Somebody) -> None:
    """Asked for by MLflow itself: `aud` names both, and `azp` says that it was MLflow."""
    settings(OIDC_SCOPES=f"{SCOPES} audience:server:client_id:pipelines")
    assert somebody.as_alice().status_code == 200
    assert somebody.username() == ALICE.email


def test_an_id_token_of_another_client_that_names_mlflow(
    settings: Settle, dex: Dex, engines: Engines
) -> None:
    """It names MLflow in `aud` and the other client in `azp`: it is that client's, and no credential here.

    What Dex gives as an access token looks just like it. An exchanged token is good: the cases have that.
    """
    settings()
    given = tokens_of_pipelines(dex)
    for name in ("id_token", "access_token"):
        claims = tokens.claims_of(given[name])
        assert (set(claims["aud"]), claims["azp"]) == ({"mlflow", "pipelines"}, "pipelines")
        wire.refusal(engines.server.call("GET", SEARCH, token=given[name]), 401, "token_authorized_party")


def tokens_of_pipelines(dex: Dex) -> dict[str, str]:
    """Alice logs in to `pipelines`, which asks for tokens that MLflow may see."""
    asked = {"response_type": "code", "client_id": "pipelines", "redirect_uri": NOWHERE}
    asked["scope"] = f"{SCOPES} {FOR_MLFLOW}"
    alice = Somebody("")
    page = alice.open(f"{dex.issuer}/auth?{urlencode(asked)}")
    alice.as_alice(alice.choose(page, "company"), stop=NOWHERE)
    code = member(alice.at, "code")
    return token_answer(dex.process.token(grant_type="authorization_code", redirect_uri=NOWHERE, code=code))


def test_a_program_exchanges_the_token_of_its_service_account(
    settings: Settle, dex: Dex, engines: Engines
) -> None:
    settings()
    answer = engines.server.call("GET", SEARCH, token=dex.exchanged_service_token())
    assert answer.status_code == 200, answer.text
    assert engines.server.is_admin(dex.service_username) is False


def test_an_exchanged_token_without_the_scope_of_groups(settings: Settle, dex: Dex, engines: Engines) -> None:
    settings()
    token = dex.company.service_token(*dex.program)
    answer = dex.process.exchange(token, scope=f"openid email {FOR_MLFLOW}")
    given = str(token_answer(answer)["access_token"])
    wire.refusal(engines.server.call("GET", SEARCH, token=given), 403, "groups_missing")


def test_a_public_client_is_as_weak_as_the_recipe_says(settings: Settle, dex: Dex, engines: Engines) -> None:
    """The recipe warns of this: Dex asks a public client for no secret, and no token whom it was made for.

    An application that Alice uses at the company could so be Alice at MLflow, if MLflow's client were public.
    """
    settings(OIDC_CLIENT_ID="mlflow-public", OIDC_CLIENT_SECRET=None, OIDC_SESSION_SECRET="0123456789abcdef")
    of_another = dex.company.tokens_of(ALICE.name, ALICE.password)["id_token"]
    assert tokens.claims_of(of_another)["aud"] == "command-line"
    form = {"client_id": "mlflow-public", "scope": SCOPES}
    answer = dex.process.exchange(of_another, auth=None, **form)
    given = str(token_answer(answer)["access_token"])
    assert engines.server.call("GET", SEARCH, token=given).status_code == 200
    # The client of the example has a secret.
    refusal = dex.process.exchange(of_another, auth=("mlflow", "a-guess"), scope=SCOPES)
    assert (refusal.status_code, refusal.json()["error"]) == (401, "invalid_client")


def test_there_are_no_client_credentials_and_no_passwords_of_programs(dex: Dex) -> None:
    """The first does not exist in Dex 2.41, and the second is not switched on in the example."""
    assert dex.process.token(grant_type="client_credentials").json()["error"] == "unsupported_grant_type"
    guest = {"username": GUEST[0], "password": GUEST[1], "scope": "openid"}
    by_password = dex.process.token(grant_type="password", **guest)
    assert by_password.json()["error"] == "unsupported_grant_type"


def test_a_code_of_another_login(settings: Settle, engines: Engines, somebody: Somebody) -> None:
    """Code injection: the PKCE verifier of this login does not fit the code of another one."""
    settings()
    stolen = member(somebody.answer(), "code")
    victim = Somebody(engines.server.url)
    refused(victim.open(changed(victim.answer(), code=stolen)), 502, "provider_error")
    assert "invalid_grant" in engines.server.log_tail(3)
    assert victim.username() is None


def test_a_sign_out_ends_here_and_says_so(settings: Settle, somebody: Somebody) -> None:
    settings()
    somebody.as_alice()
    confirm = somebody.open(f"{somebody.mlflow}/oidc/logout")
    assert "session in MLflow alone" in confirm.text
    end = somebody.submit(confirm)
    assert end.url == f"{somebody.mlflow}/oidc/logout"
    assert "provider goes on" in end.text
    assert somebody.username() is None
    # And so it is: the company's provider lets her in without a question.
    assert somebody.begin("company").status_code == 200
    assert somebody.username() == ALICE.email
