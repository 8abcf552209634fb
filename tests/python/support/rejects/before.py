"""What has happened before a row is tried: the names that may stand in its member `before`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from support.browser import Browser
from support.rejects import sealed, token
from support.rejects.places import EXPERIMENTS
from support.rejects.provider import CODE, HANGS_FOR, Answer
from support.rejects.run import Run
from support.rejects.values import evaluate

# MLflow 3 asks for twelve characters.
PASSWORD = "a-password-of-their-own"
EXCHANGES = 16


def let_in(run: Run, bearer: str) -> None:
    answer = run.server.call("GET", EXPERIMENTS, token=bearer)
    assert answer.status_code == 200, f"a good bearer: {answer.status_code} {answer.text}"


def first_subject(run: Run, user: str) -> None:
    """Another subject of the provider has bound this user name."""
    names = {**run.names, "subject": f"first-{run.names['subject']}", "user": user}
    claim = run.row.settings.get("OIDC_USERNAME_CLAIM", "email")
    let_in(run, token.good({**token.bearer_claims(names), claim: user}))


def admitted(run: Run) -> None:
    """The row's person came with a good bearer."""
    let_in(run, token.good(token.bearer_claims(run.names)))


def good_token_first(run: Run) -> None:
    """The very token that this row's changes."""
    let_in(run, token.good(run.claims(token.bearer_claims)))


def local_user(run: Run, username: str, password: str = PASSWORD) -> None:
    """An account of MLflow's own, with a password."""
    if run.server.user(username) is None:
        run.stage.admin("POST", "/api/2.0/mlflow/users/create", username=username, password=password)


def local_admin(run: Run, username: str, password: str = PASSWORD) -> None:
    local_user(run, username, password)
    if not run.server.is_admin(username):
        run.stage.admin("PATCH", "/api/2.0/mlflow/users/update-admin", username=username, is_admin=True)


def signed_in(run: Run) -> None:
    run.sign_in()


def vouched_for_long_ago(run: Run) -> None:
    """The provider's word about the row's person is older than it may be."""
    run.vouched_for_long_ago()


def another_signed_in(run: Run) -> None:
    """Session shadowing: somebody else has a session as well, and plants its cookie beside the person's."""
    other = Browser(run.server)
    query = run.send_out(other)
    names = {**run.names, "subject": f"other-{run.names['subject']}", "user": f"other-{run.names['user']}"}
    run.hand_out(token.good(token.id_token_claims({**names, "nonce": query["nonce"]})))
    answer = other.open(f"{run.server.url}/oidc/callback?code={CODE}&state={query['state']}")
    assert answer.status_code == 302, f"a good login: {answer.status_code} {answer.text[-300:]}"
    run.note_other_cookie(other)
    run.issuer.asked.clear()


def another_login_begun(run: Run) -> None:
    """Login CSRF: the same with a login that is under way."""
    other = Browser(run.server)
    run.names["other_state"] = run.send_out(other)["state"]
    run.note_other_cookie(other)


def signed_in_then_removed(run: Run) -> None:
    """MLflow's administrator has deleted the user since."""
    run.sign_in()
    run.stage.admin("DELETE", "/api/2.0/mlflow/users/delete", username=run.names["user"])


def session_row_gone(run: Run) -> None:
    """They have signed out, and somebody has kept the cookie."""
    answer = run.browser.logout()
    assert answer.status_code == 303, answer.text
    run.stage.again()


def password(run: Run, text: str) -> None:
    """MLflow's administrator has given a password to somebody whom a login made."""
    run.secrets.add(text)
    change = {"username": run.names["user"], "password": text}
    run.stage.admin("PATCH", "/api/2.0/mlflow/users/update-password", **change)


def settings(run: Run, changes: dict[str, str]) -> None:
    run.stage.change_settings(changes)


def login_begun(run: Run) -> None:
    run.begin_login()


def another_browser(run: Run) -> None:
    """Login CSRF: an attacker's answer is brought by the browser of somebody else, who is signing in too."""
    run.begin_login()
    run.comes_back = Browser(run.server)
    run.send_out(run.comes_back)


def no_cookie(run: Run) -> None:
    run.begin_login()
    run.comes_back = Browser(run.server)


def answered_with_error(run: Run) -> None:
    run.begin_login()
    answer = run.come_back(f"error=access_denied&state={run.names['state']}")
    assert answer.status_code == 403, answer.text


def clock(run: Run, seconds: int) -> None:
    """Time goes by, as far as the login that is under way can tell: it was begun so much earlier."""
    run.begin_login()
    (name,) = jar = run.browser.cookies[run.browser.origin]
    jar[name] = sealed.older(jar[name], run.stage.session_secret, seconds)


def database_broken(run: Run) -> None:
    run.take_stock()
    run.undo.enter_context(run.stage.database_broken())


def broken_engine(run: Run) -> None:
    run.stage.break_engine()


def sixteen_exchanges_under_way(run: Run) -> None:
    """So many people have come back, and the provider takes its time for each of them."""
    browsers = [Browser(run.server) for _ in range(EXCHANGES)]
    states = [run.send_out(browser)["state"] for browser in browsers]
    hangs = threading.Event()

    def in_the_end() -> Answer:
        hangs.wait(HANGS_FOR)
        return Answer.json({"error": "invalid_grant"}, status=400)

    run.issuer.answers["token"] = in_the_end
    pool = ThreadPoolExecutor(EXCHANGES)
    at = f"{run.server.url}/oidc/callback?code={CODE}&state="
    answers = [pool.submit(browser.open, at + state) for browser, state in zip(browsers, states, strict=True)]

    def let_go() -> None:
        hangs.set()
        pool.shutdown()
        assert {answer.result().status_code for answer in answers} == {502}, "they were told something else"

    run.undo.callback(let_go)
    run.wait_for(lambda: run.issuer.asked.count("token") == EXCHANGES)
    run.issuer.asked.clear()


PREPARATIONS: dict[str, Callable[..., None]] = {
    "first_subject": first_subject,
    "local_user": local_user,
    "local_admin": local_admin,
    "admitted": admitted,
    "password": password,
    "good_token_first": good_token_first,
    "login_begun": login_begun,
    "signed_in": signed_in,
    "vouched_for_long_ago": vouched_for_long_ago,
    "another_signed_in": another_signed_in,
    "another_login_begun": another_login_begun,
    "signed_in_then_removed": signed_in_then_removed,
    "session_row_gone": session_row_gone,
    "settings": settings,
    "another_browser": another_browser,
    "no_cookie": no_cookie,
    "answered_with_error": answered_with_error,
    "clock": clock,
    "database_broken": database_broken,
    "sixteen_exchanges_under_way": sixteen_exchanges_under_way,
    "broken_engine": broken_engine,
}


# Places where somebody is signed in, unless the row says what has happened.
_SIGNED_IN = {"cookie", "logout_token"}


def prepare(run: Run) -> None:
    if run.place in _SIGNED_IN and not run.row.before:
        run.sign_in()
    if run.place == "refresh":
        run.sign_in_long_ago()
    for called, *told in run.row.before:
        assert called in PREPARATIONS, f"{called} is none of {sorted(PREPARATIONS)}"
        PREPARATIONS[called](run, *evaluate(told, run.names))
