"""A person at a browser: the way in, who they are then, and the way out. tests/browser drives a real one."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode, urljoin, urlsplit

import pytest

from support import browser as browsers
from support import wire
from support.browser import Browser
from support.provider import CLIENT_ID, CLIENT_SECRET, Provider
from support.server import ADMIN, MlflowServer

Person = Callable[..., str]

# How a request looks that another site made a browser send, in newer browsers and in older ones.
OTHER_SITES = [
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
]

EXPERIMENTS = "/ajax-api/2.0/mlflow/experiments/search?max_results=1"


def test_the_whole_way_in_keeps_the_query(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")

    first = browser.open(server.url + "/?x=1")
    assert first.status_code == 302
    sign_in = urljoin(server.url + "/", first.headers["Location"])
    assert urlsplit(sign_in).path == "/oidc/login"
    assert browsers.query_of(sign_in) == {"next": "/?x=1"}
    assert wire.set_cookie(first) is None, "nothing has begun yet, so there is nothing to remember"

    page = browser.open(sign_in)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<noscript>" in page.text
    assert "<script" in page.text
    onward = urljoin(sign_in, browsers.goes_on_to(page) or "")
    assert browsers.query_of(onward) == {"next": "/?x=1", "go": "1"}
    assert onward in [urljoin(sign_in, link) for link in browsers.links(page)], (
        "a plain link for everybody else"
    )

    to_provider = browser.open(onward)
    assert to_provider.status_code == 302
    form = to_provider.headers["Location"]
    assert form.startswith(provider.issuer + "/oauth2/authorize?")

    callback = browser.authorize(form, alice)
    assert callback.startswith(server.url + "/oidc/callback?")
    home = browser.open(callback)
    assert home.status_code == 302
    assert urljoin(callback, home.headers["Location"]) == server.url + "/?x=1"

    ui = browser.open(server.url + "/?x=1")
    assert ui.status_code == 200
    assert 'id="root"' in ui.text, "MLflow's own page"

    said = browser.signed_in()
    assert said["username"] == f"{alice}@example.org"
    assert said["groups"] == ["MLFLOW"]
    assert said["is_admin"] is False
    assert said["issuer"] == provider.issuer
    assert said["expires_at"]


def test_mlflow_says_who_it_is(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    name = f"{alice}@example.org"
    browser.login(provider, alice)

    if server.modern:
        current = browser.xhr("GET", "/ajax-api/2.0/mlflow/users/current")
        assert current.status_code == 200, current.text
        assert name in current.text
    mine = browser.xhr("GET", f"/api/2.0/mlflow/users/get?username={quote(name)}")
    assert mine.status_code == 200, mine.text
    assert mine.json()["user"]["username"] == name
    assert mine.json()["user"]["is_admin"] is False
    other = browser.xhr("GET", f"/api/2.0/mlflow/users/get?username={ADMIN[0]}")
    assert other.status_code == 403, "only an administrator sees other people"

    # What MLflow's UI does next, and it is this person whom MLflow makes the owner.
    made = browser.xhr("POST", "/ajax-api/2.0/mlflow/experiments/create", json={"name": f"of-{alice}"})
    assert made.status_code == 200, made.text
    found = browser.xhr("POST", "/ajax-api/2.0/mlflow/experiments/search", json={"max_results": 100})
    assert f"of-{alice}" in found.text


def test_the_row_in_mlflows_table_opens_nothing_else(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    name = f"{alice}@example.org"
    assert server.user(name) is None
    browser.login(provider, alice)

    row = server.user(name)
    assert row is not None
    is_admin, password_hash = row
    assert not is_admin
    assert password_hash.startswith("oidc")
    assert "$" not in password_hash
    for password in ("", "oidc", name, alice, password_hash):
        answer = server.call("GET", "/api/2.0/mlflow/experiments/search?max_results=1", auth=(name, password))
        assert answer.status_code == 401, f"{password!r} opened it"


def test_ada_is_an_administrator_until_she_is_not(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    ada = person("ada", groups=["MLFLOW_admin"])
    name = f"{ada}@example.org"
    browser.login(provider, ada)
    assert browser.signed_in()["is_admin"] is True
    assert browser.xhr("GET", f"/api/2.0/mlflow/users/get?username={ADMIN[0]}").status_code == 200
    assert server.is_admin(name) is True

    provider.put_user(ada, groups=["MLFLOW"])
    again = Browser(server)
    again.login(provider, ada)
    assert again.signed_in()["is_admin"] is False
    assert again.xhr("GET", f"/api/2.0/mlflow/users/get?username={ADMIN[0]}").status_code == 403
    assert server.is_admin(name) is False
    # The older session is the same account, so it lost its rights in the same moment.
    assert browser.xhr("GET", f"/api/2.0/mlflow/users/get?username={ADMIN[0]}").status_code == 403


@pytest.mark.parametrize(
    "groups",
    [[], ["OTHER"], ["MLFLOW_administrators"], ["XMLFLOW"], ["mlflow"], ["MLFLOW "], ["team/MLFLOW"]],
    ids=repr,
)
def test_mallory_gets_a_page_that_names_the_group_and_no_row(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person, groups: list[str]
) -> None:
    mallory = person("mallory", groups=groups)
    page, _ = browser.login(provider, mallory)
    assert page.status_code == 403, page.text
    assert page.headers["Content-Type"].startswith("text/html")
    assert "MLFLOW" in page.text
    assert browser.session() is None
    assert_nobody(server, mallory)


def assert_nobody(server: MlflowServer, subject: str, name: str | None = None) -> None:
    assert server.user(name or f"{subject}@example.org") is None
    if (server.folder / "basic_auth.db-oidc").exists():
        query = "SELECT count(*) FROM oidc_identities WHERE subject = ?"
        assert server.rows(query, subject, database="basic_auth.db-oidc") == [(0,)]


def test_a_token_without_the_groups_claim_is_no_member(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    mallory = person("mallory", groups=None)
    page, _ = browser.login(provider, mallory)
    assert page.status_code == 403
    assert "groups" in page.text
    assert_nobody(server, mallory)


def test_a_login_that_is_told_of_no_groups_anywhere_takes_what_groups_gave(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    """Keycloak 26 and Dex leave the claim out for somebody in no group. A token of a program says less."""
    ada = person("ada", groups=["MLFLOW_admin"])
    browser.login(provider, ada)
    silent = provider.bearer(ada, groups=None)
    wire.refusal(server.call("GET", "/version", token=silent), 403, "groups_missing")
    assert server.is_admin(f"{ada}@example.org") is True
    provider.put_user(ada, groups=None)
    page, _ = Browser(server).login(provider, ada)
    assert page.status_code == 403
    assert server.is_admin(f"{ada}@example.org") is False


def test_an_unverified_address_identifies_nobody(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    victim = person("victim")
    thief = person("thief", email=f"{victim}@example.org", email_verified=False)
    page, _ = browser.login(provider, thief)
    assert page.status_code in (401, 403), page.text
    assert browser.session() is None
    assert_nobody(server, thief, f"{victim}@example.org")


def test_another_subject_cannot_take_a_name(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    browser.login(provider, alice)
    thief = person("thief", email=f"{alice}@example.org", groups=["MLFLOW_admin"])
    other = Browser(server)
    page, _ = other.login(provider, thief)
    assert page.status_code == 403, page.text
    assert other.session() is None
    assert server.is_admin(f"{alice}@example.org") is False
    assert browser.session() is not None


@pytest.mark.parametrize("account", ["admin", "local"])
def test_a_local_account_is_never_taken_over(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person, account: str
) -> None:
    thief = person("thief")
    name, password = ADMIN
    if account == "local":
        name, password = f"local-{thief}@example.org", "a-password-of-its-own-123"
        server.admin("POST", "/api/2.0/mlflow/users/create", json={"username": name, "password": password})
    provider.put_user(thief, email=name)
    before = server.user(name)
    page, _ = browser.login(provider, thief)
    assert page.status_code == 403, page.text
    assert browser.session() is None
    assert server.user(name) == before
    mine = server.call("GET", f"/api/2.0/mlflow/users/get?username={quote(name)}", auth=(name, password))
    assert mine.status_code == 200, "the owner's password still works"


def test_logout_ends_it_here_and_at_the_provider(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    browser.login(provider, alice)
    stolen = dict(browser.cookies[browser.origin])

    confirm = browser.open(server.url + "/oidc/logout")
    assert confirm.status_code == 200
    assert "<form" in confirm.text
    assert "post" in confirm.text.lower()
    assert browser.session() is not None, "reading the page ends nothing"

    onward = browsers.goes_on_to(browser.logout())
    assert onward is not None
    assert onward.startswith(provider.issuer + "/oauth2/end_session?")
    assert browsers.query_of(onward)["post_logout_redirect_uri"].startswith(server.url)
    assert browser.open(onward).status_code == 200, "the provider understands it"
    assert browser.session() is None

    # The cookie that somebody copied before is worth nothing either, on any worker.
    time.sleep(server.session_cache_seconds + 0.5 if server.workers > 1 else 0)
    thief = Browser(server)
    thief.cookies[thief.origin] = stolen
    for _ in range(6):
        assert thief.session() is None
        assert thief.xhr("GET", EXPERIMENTS).status_code == 401
    signed_out = browser.open(server.url + "/oidc/logout")
    assert signed_out.status_code == 200
    assert "<form" not in signed_out.text


def test_logout_is_not_for_other_sites(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    browser.login(provider, person("alice"))
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies[browser.origin].items())
    for headers in OTHER_SITES:
        answer = server.call("POST", "/oidc/logout", headers={**headers, "Cookie": cookie})
        assert answer.status_code == 403, f"{headers}: {answer.status_code} {answer.text}"
    assert browser.session() is not None


def test_every_login_is_a_new_session(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    browser.login(provider, alice)
    first = dict(browser.cookies[browser.origin])
    # The browser goes through the provider once more, with the old session still in its cookie.
    form = browser.follow(browser.open(server.url + "/oidc/login?next=/"), server.url + "/oidc/login")[1]
    callback = browser.authorize(form, alice)
    browser.follow(browser.open(callback), callback)
    assert browser.session() is not None
    assert browser.cookies[browser.origin] != first
    count = "SELECT count(*) FROM oidc_sessions"
    assert server.rows(count, database="basic_auth.db-oidc")[0][0] >= 1


def test_what_is_asked_of_the_provider(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    forms = [browser.start_login("/"), browser.start_login("/")]
    asked = [browsers.query_of(form) for form in forms]
    for query in asked:
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == server.url + "/oidc/callback"
        assert "openid" in query["scope"].split()
        assert query["code_challenge_method"] == "S256"
        assert len(query["state"]) >= 22
        assert len(query["nonce"]) >= 22
        assert len(query["code_challenge"]) == 43
        assert CLIENT_SECRET not in str(query)
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name], f"{name} is for one attempt"

    callback = browser.authorize(forms[0], person("alice"))
    browser.follow(browser.open(callback), callback)
    exchange = provider.asked("/oauth2/token")[-1]
    verifier = exchange["form"]["code_verifier"]
    assert 43 <= len(verifier) <= 128
    digest = hashlib.sha256(verifier.encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked[0]["code_challenge"]
    assert exchange["form"]["redirect_uri"] == asked[0]["redirect_uri"]
    assert exchange["authorization"] or exchange["form"].get("client_secret")


def test_several_tabs_log_in_at_once(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    forms = [browser.start_login(f"/?tab={number}") for number in range(4)]
    for number in (2, 0, 3, 1):
        callback = browser.authorize(forms[number], alice)
        answer = browser.open(callback)
        assert answer.status_code == 302, answer.text
        assert urljoin(callback, answer.headers["Location"]) == server.url + f"/?tab={number}"
    assert browser.session() is not None


def test_a_callback_works_once_and_only_in_its_browser(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    callback = browser.authorize(browser.start_login(), alice)
    stranger = Browser(server)
    refused = stranger.open(callback)
    assert refused.status_code == 400, "somebody else's login is pushed on this browser"
    assert "login_unknown" in refused.text
    assert stranger.session() is None
    assert browser.open(callback).status_code == 302
    # The second time nothing is spent at the provider and nobody is signed in; who is in already goes home.
    asked, before = len(provider.asked("/oauth2/token")), browser.cookie
    again = browser.open(callback)
    assert again.status_code == 302
    assert urljoin(callback, again.headers["Location"]) == server.url + "/"
    assert len(provider.asked("/oauth2/token")) == asked
    assert browser.cookie == before
    assert browser.session() is not None
    browser.logout()
    assert browser.open(callback).status_code == 400
    assert browser.session() is None


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"state": "x" * 43}, 400, "login_unknown"),
        ({"state": None}, 400, None),
        ({"code": None}, 400, "callback_malformed"),
        ({"error": "access_denied", "code": None}, 403, "login_denied"),
        ({"error": "temporarily_unavailable", "code": None}, None, None),
        ({"code": "not-a-code"}, 502, None),
        ({"iss": "https://evil.example"}, 400, "callback_issuer"),
    ],
    ids=lambda value: str(value),
)
def test_callbacks_that_are_refused(
    server: MlflowServer,
    browser: Browser,
    person: Person,
    change: dict[str, str | None],
    status: int | None,
    code: str | None,
) -> None:
    callback = browser.authorize(browser.start_login(), person("alice"))
    query: dict[str, str | None] = {**browsers.query_of(callback), **change}
    sent = urlencode({name: value for name, value in query.items() if value is not None})
    answer = browser.open(f"{server.url}/oidc/callback?{sent}")
    assert answer.status_code == status if status else answer.status_code >= 400, answer.text
    assert answer.headers["Content-Type"].startswith("text/html")
    assert code is None or code in answer.text
    assert "evil" not in answer.headers.get("Location", "")
    assert browser.session() is None


def test_a_repeated_parameter_is_refused(server: MlflowServer, browser: Browser, person: Person) -> None:
    callback = browser.authorize(browser.start_login(), person("alice"))
    for more in ("&state=x", "&code=x", "&code="):
        answer = browser.open(callback + more)
        assert answer.status_code == 400, answer.text
        assert "callback_malformed" in answer.text
    assert browser.session() is None


def test_the_denied_login_can_be_tried_again(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    form = browser.start_login()
    callback = browser.authorize(form, "", action="deny")
    answer = browser.open(callback)
    # The mock answers a denial without the state; a provider that keeps the rules sends it.
    assert answer.status_code in (400, 403), answer.text
    denied = f"{server.url}/oidc/callback?error=access_denied&state={quote(browsers.query_of(form)['state'])}"
    answer = browser.open(denied)
    assert answer.status_code in (400, 403), answer.text
    browser.login(provider, person("alice"))
    assert browser.session() is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/oidc/login"),
        ("DELETE", "/oidc/session"),
        ("PUT", "/oidc/logout"),
        ("DELETE", "/oidc/callback"),
    ],
)
def test_other_methods_on_our_own_paths(server: MlflowServer, method: str, path: str) -> None:
    answer = server.call(method, path)
    assert answer.status_code == 405, answer.text


def test_any_other_page_is_a_401_that_goes_on_by_itself(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    path = "/api/2.0/mlflow/experiments/search?max_results=3"
    page = browser.open(server.url + path)
    assert page.status_code == 401
    assert page.headers["Content-Type"].startswith("text/html")
    onward = urljoin(page.url, browsers.goes_on_to(page) or "")
    assert urlsplit(onward).path == "/oidc/login"
    assert browsers.query_of(onward) == {"next": path, "go": "1"}

    answer, at = browser.login(provider, person("alice"), path)
    assert at == server.url + path
    assert answer.status_code == 200
    assert "experiments" in answer.json()


def test_an_old_browser_is_a_browser_too(server: MlflowServer) -> None:
    """Without fetch metadata, a GET that prefers HTML is a person; what a script accepts is not."""
    html = {"Accept": wire.NAVIGATION["Accept"]}
    assert server.call("GET", "/", headers=html).status_code == 302
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
        wire.refusal(server.call("GET", "/", headers={"Accept": accept}), 401)
    # Fetch metadata wins: a script can ask for HTML, too.
    wire.refusal(server.call("GET", "/", headers={**html, "Sec-Fetch-Mode": "cors"}), 401)
    # A form that was open when the session ended is a person's, but nothing but GET is ever redirected.
    assert server.call("POST", "/", headers=wire.NAVIGATION).status_code == 401


def test_a_cookie_alone_changes_nothing_for_another_site(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    alice = person("alice")
    browser.login(provider, alice)
    path = "/api/2.0/mlflow/experiments/create"
    for number, headers in enumerate(OTHER_SITES):
        # A form of another site can send this content type without asking first.
        sent = {**headers, "Content-Type": "text/plain"}
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies[browser.origin].items())
        name = f"csrf-{alice}-{number}"
        answer = server.call("POST", path, headers={**sent, "Cookie": cookie}, data=f'{{"name": "{name}"}}')
        assert answer.status_code == 403, f"{headers}: {answer.status_code} {answer.text}"
        found = server.admin("GET", "/api/2.0/mlflow/experiments/search?max_results=1000")
        assert name not in str(found)
    own = browser.xhr("POST", path, json={"name": f"own-{alice}"})
    assert own.status_code == 200, own.text


def test_a_header_that_fails_never_falls_back_to_the_cookie(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    browser.login(provider, person("alice"))
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    for header in ("Bearer nonsense", "Basic bm9ib2R5Om5vdGhpbmc=", "Digest x", "Bearer", "nonsense"):
        answer = browser.xhr("GET", path, headers={"Authorization": header})
        assert answer.status_code == 401, f"{header}: {answer.status_code}"
    assert browser.xhr("GET", path).status_code == 200


def test_who_is_deleted_is_signed_out(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    """An administrator removes the account: the session ends with it, and is no 404 or 500 to anybody."""
    alice = person("alice")
    browser.login(provider, alice)
    assert browser.xhr("GET", EXPERIMENTS).status_code == 200
    server.admin("DELETE", "/api/2.0/mlflow/users/delete", json={"username": f"{alice}@example.org"})
    time.sleep(server.session_cache_seconds + 0.5)
    for _ in range(4):
        wire.refusal(browser.xhr("GET", EXPERIMENTS), 401)
    assert browser.session() is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "long", "foreign"])
def test_a_damaged_cookie_is_no_cookie(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person, damage: str
) -> None:
    browser.login(provider, person("alice"))
    jar = browser.cookies[browser.origin]
    ((name, value),) = jar.items()
    middle = len(value) // 2
    other = "A" if value[middle] != "A" else "B"
    jar[name] = {
        "cut": value[:-5],
        "flipped": value[:middle] + other + value[middle + 1 :],
        "empty": "",
        "long": "A" * 3000,
        "foreign": "eyJhbGciOiJub25lIn0.e30.",
    }[damage]
    assert browser.session() is None
    browser.login(provider, person("bob"))
    assert browser.session() is not None, "and it is no obstacle to a new login"


def test_each_worker_knows_what_the_other_began(
    server: MlflowServer, browser: Browser, provider: Provider, person: Person
) -> None:
    if server.workers < 2:
        # With one worker this is what every other test of this file does.
        browser.login(provider, person("alice"))
        assert browser.session() is not None
        return
    for index in range(2):
        # The first request in a worker imports and connects; what follows has to be quick.
        with server.only_worker(index):
            assert server.call("GET", "/").status_code == 401

    alice = person("alice")
    for begins, ends in ((0, 1), (1, 0)):
        browser = Browser(server)
        with server.only_worker(begins):
            form = browser.start_login("/?x=1")
        with server.only_worker(ends):
            callback = browser.authorize(form, alice)
            answer = browser.open(callback)
            assert answer.status_code == 302, answer.text
        with server.only_worker(begins):
            assert browser.signed_in()["username"] == f"{alice}@example.org"
            assert browser.xhr("GET", EXPERIMENTS).status_code == 200
            stolen = dict(browser.cookies[browser.origin])
        with server.only_worker(ends):
            assert browser.session() is not None
            assert browser.logout().status_code in (200, 303)
        time.sleep(server.session_cache_seconds + 0.5)
        with server.only_worker(begins):
            thief = Browser(server)
            thief.cookies[thief.origin] = stolen
            assert thief.session() is None, "the logout on one worker is true on the other"
