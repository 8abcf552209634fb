"""Settings: where they come from, and what a broken one does: nobody gets in, and everybody reads why."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest

from support import browser as browsers
from support import wire
from support.browser import Browser
from support.provider import CLIENT_ID, CLIENT_SECRET, Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for

Person = Callable[..., str]

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"

# Every one of these is wrong in its own way, and two of them are secrets.
FAULTY = {
    "OIDC_ISSUER_URL": "http://keycloak.example/realms/mlflow",
    "OIDC_CLIENT_SECRET": "the-secret-of-the-client-7c1f",
    "OIDC_CLIENT_SECRET_FILE": "/run/secrets/both-are-given",
    "OIDC_CLOCK_SKEW_SECONDS": "a minute or so",
    "OIDC_SESSION_LIFETIME": "5",
    "OIDC_BASIC_AUTH": "perhaps",
    "OIDC_HTTP_TIMEOUT": "-1",
    "OIDC_SCOPES": "email profile",
    "OIDC_CA_BUNDLE_FILE": "/no/such/file/e5b1",
    "OIDC_SESSION_SECRET": "short-5e55",
    "OIDC_PUBLIC_URL": "ftp://mlflow.example",
    "OIDC_USER_GROPU": "MLFLOW",
}
NAMED = [
    "OIDC_ISSUER_URL",
    "OIDC_CLIENT_ID",
    "OIDC_CLIENT_SECRET_FILE",
    "OIDC_CLOCK_SKEW_SECONDS",
    "OIDC_SESSION_LIFETIME",
    "OIDC_BASIC_AUTH",
    "OIDC_HTTP_TIMEOUT",
    "OIDC_SCOPES",
    "OIDC_CA_BUNDLE_FILE",
    "OIDC_SESSION_SECRET",
    "OIDC_PUBLIC_URL",
]
SECRETS = (FAULTY["OIDC_CLIENT_SECRET"], FAULTY["OIDC_SESSION_SECRET"])


@pytest.fixture(scope="module")
def faulty(version: str, make_module_server: MakeServer, provider: Provider) -> MlflowServer:
    return make_module_server(version, provider.issuer, settings=FAULTY, secrets=SECRETS)


def test_a_program_reads_every_fault_at_once(faulty: MlflowServer, provider: Provider) -> None:
    for headers in ({}, {"Authorization": f"Bearer {provider.bearer('alice')}"}, wire.XHR):
        answer = faulty.call("GET", EXPERIMENTS, headers=headers)
        said = wire.refusal(answer, 500, "configuration")
        assert said["error_code"] == "INTERNAL_ERROR"
        missing = [name for name in NAMED if name not in said["message"]]
        assert not missing, f"{missing} not in {said['message']}"
        assert not [secret for secret in SECRETS if secret in answer.text]


def test_a_person_reads_every_fault_at_once(faulty: MlflowServer) -> None:
    for path in ("/", "/oidc/login?next=/", "/oidc/callback?code=x&state=y", EXPERIMENTS):
        page = faulty.call("GET", path, headers=wire.NAVIGATION)
        assert page.status_code == 500, path
        assert page.headers["Content-Type"].startswith("text/html")
        missing = [name for name in NAMED if name not in page.text]
        assert not missing, f"{missing} not in the page at {path}"
        assert not [secret for secret in SECRETS if secret in page.text]
        assert wire.set_cookie(page) is None


def test_nobody_gets_in_meanwhile(faulty: MlflowServer) -> None:
    """Not by a password either: an operator who meant to switch Basic off has not."""
    paths = [EXPERIMENTS, "/", "/graphql", "/no/such/path"]
    if faulty.modern:
        paths += ["/v1/traces", "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/x"]
    for path in paths:
        for method in ("GET", "POST", "DELETE"):
            assert faulty.call(method, path, auth=ADMIN).status_code == 500, f"{method} {path}"
    assert faulty.call("GET", "/health").status_code == 200


def test_the_log_says_it_once(faulty: MlflowServer) -> None:
    for _ in range(5):
        faulty.call("GET", EXPERIMENTS)
    text = faulty.log_text()
    for name in NAMED:
        lines = [line for line in text.splitlines() if re.search(rf"\b{name}\b", line)]
        assert len(lines) == 1, f"{name}: {lines}"
    assert not [secret for secret in SECRETS if secret in text]


def test_an_unknown_name_is_warned_about_with_the_nearest(faulty: MlflowServer) -> None:
    faulty.call("GET", EXPERIMENTS)
    lines = [line for line in faulty.log_text().splitlines() if "OIDC_USER_GROPU" in line]
    assert len(lines) == 1, lines
    assert "OIDC_USER_GROUP" in lines[0]
    assert "WARNING" in lines[0]


@pytest.fixture(scope="module")
def from_file(
    version: str,
    make_module_server: MakeServer,
    provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> MlflowServer:
    """Everything in `[oidc]`, the secret in a mounted file, and two values of the environment above them."""
    secret = tmp_path_factory.mktemp("secrets") / "client-secret"
    secret.write_text(CLIENT_SECRET + "\n")
    return make_module_server(
        version,
        provider.issuer,
        settings={"OIDC_USER_GROUP": "staff", "OIDC_CLIENT_SECRET_FILE": str(secret)},
        oidc_section={
            "issuer_url": provider.issuer,
            "client_id": CLIENT_ID,
            "username_claim": "preferred_username",
            "user_group": "not this one",
            "admin_group": "chiefs, owners",
            "groups_claim": "realm_access.roles",
            "session_lifetime": "90m",
            "link_existing_users": "true",
            "scopes": "openid profile",
        },
    )


def test_the_section_of_the_file(from_file: MlflowServer, provider: Provider, person: Person) -> None:
    name = f"ann-{uuid.uuid4().hex[:8]}"
    ann = person("ann", preferred_username=name, realm_access={"roles": ["staff"]}, groups=None)
    browser = Browser(from_file)
    form = browser.start_login()
    assert set(browsers.query_of(form)["scope"].split()) == {"openid", "profile"}
    callback = browser.authorize(form, ann)
    browser.follow(browser.open(callback), callback)
    said = browser.signed_in()
    assert (said["username"], said["groups"], said["is_admin"]) == (name, ["staff"], False)
    query = "SELECT expires_at - created_at FROM oidc_sessions WHERE subject = ?"
    assert from_file.rows(query, ann, database="basic_auth.db-oidc") == [(90 * 60,)]


def test_the_secret_of_the_file_is_used_without_its_line_end(
    from_file: MlflowServer, provider: Provider, person: Person
) -> None:
    import base64

    asked = len(provider.asked("/oauth2/token"))
    ann = person("ann", preferred_username=uuid.uuid4().hex, realm_access={"roles": ["staff"]}, groups=None)
    Browser(from_file).login(provider, ann)
    exchange = provider.asked("/oauth2/token")[asked]
    header = exchange["authorization"] or ""
    given = base64.b64decode(header.removeprefix("Basic ")).decode() if header else ""
    assert (given.partition(":")[2] or exchange["form"].get("client_secret")) == CLIENT_SECRET


@pytest.mark.parametrize(
    ("roles", "status", "is_admin"),
    [
        (["staff"], 200, False),
        (["owners"], 200, True),
        (["chiefs", "staff"], 200, True),
        (["not this one"], 403, None),
        (["staff_admin"], 403, None),
        ([], 403, None),
    ],
    ids=str,
)
def test_the_environment_wins_and_lists_are_lists(
    from_file: MlflowServer,
    provider: Provider,
    person: Person,
    roles: list[str],
    status: int,
    is_admin: bool | None,
) -> None:
    name = uuid.uuid4().hex
    claims = {"preferred_username": name, "realm_access": {"roles": roles}, "groups": ["staff"]}
    token = provider.bearer(person("ann"), email=None, **claims)
    assert from_file.call("GET", EXPERIMENTS, token=token).status_code == status
    assert from_file.is_admin(name) is is_admin


def test_an_existing_user_is_linked_only_when_asked_for(
    from_file: MlflowServer, provider: Provider, person: Person
) -> None:
    """Asked for here; test_browser_login has what happens otherwise."""
    name, password = f"local-{uuid.uuid4().hex}", "a-password-of-her-own-123"
    from_file.admin("POST", "/api/2.0/mlflow/users/create", json={"username": name, "password": password})
    before = from_file.rows("SELECT id FROM users WHERE username = ?", name)
    staff = {"realm_access": {"roles": ["staff"]}}
    token = provider.bearer(person("alice"), preferred_username=name, **staff)
    assert from_file.call("GET", EXPERIMENTS, token=token).status_code == 200
    assert from_file.rows("SELECT id FROM users WHERE username = ?", name) == before, "her grants stay hers"
    # Whoever is not in the admin group never becomes the administrator, whatever the name says.
    thief = provider.bearer(person("thief"), preferred_username=ADMIN[0], **staff)
    wire.refusal(from_file.call("GET", EXPERIMENTS, token=thief), 403, "account_protected")
    assert from_file.is_admin(ADMIN[0]) is True


def test_a_secret_is_not_in_the_answer_of_any_page(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    browser = Browser(server)
    browser.login(provider, person("alice"))
    browser.open(server.url + "/oidc/login?next=/")
    browser.open(server.url + "/oidc/logout")
    browser.open(server.url + "/oidc/callback?state=unknown&code=unknown")
    for answer in browser.answers:
        if answer.url.startswith(server.url):
            for secret in server.secrets:
                assert secret not in answer.text, answer.url
                assert secret not in str(answer.headers), answer.url


def test_session_secrets_roll_over(make_server: MakeServer, provider: Provider, person: Person) -> None:
    """After a rollover the old secret still opens what it sealed, until it is taken out of the list.

    No version of MLflow has a part in that, so the one that starts fastest does.
    """
    old, new = "the-first-session-secret-0123456789", "the-second-session-secret-012345678"
    alice = person("alice")
    settings = settings_for(provider.issuer, OIDC_SESSION_SECRET=old)
    first = make_server("2.9.2", provider.issuer, settings=settings)
    browser = Browser(first)
    browser.login(provider, alice)
    cookies = dict(browser.cookies[browser.origin])
    # The same folder, with its sessions, under the next secret.
    first.restart(OIDC_SESSION_SECRET=f"{new},{old}")
    again = Browser(first)
    again.cookies[again.origin] = dict(cookies)
    assert again.signed_in()["username"] == f"{alice}@example.org"
    first.restart(OIDC_SESSION_SECRET=new)
    last = Browser(first)
    last.cookies[last.origin] = dict(cookies)
    assert last.session() is None
