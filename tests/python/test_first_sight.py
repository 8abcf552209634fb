"""Fifty first requests of one new person at once: every one succeeds, and there is one row."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests

from support.browser import Browser
from support.provider import Provider
from support.server import MakeServer, MlflowServer

AT_ONCE = 50
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


def all_at_once(call: Callable[[], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [future.result() for future in [pool.submit(call) for _ in range(AT_ONCE)]]


def assert_one_row(server: MlflowServer, subject: str, username: str) -> None:
    assert server.rows("SELECT count(*) FROM users WHERE username = ?", username) == [(1,)]
    identities = "SELECT count(*) FROM oidc_identities WHERE subject = ?"
    assert server.rows(identities, subject, database="basic_auth.db-oidc") == [(1,)]


def test_with_one_token(server: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    alice = person("alice")
    token = provider.bearer(alice)
    answers = all_at_once(lambda: server.call("GET", EXPERIMENTS, token=token))
    assert [answer.status_code for answer in answers] == [200] * AT_ONCE, _worst(answers)
    assert_one_row(server, alice, f"{alice}@example.org")


def test_with_a_token_each(server: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    """No memory of a verified token helps here; and she is an administrator from the first moment on."""
    ada = person("ada")
    answers = all_at_once(
        lambda: server.call(
            "GET",
            "/api/2.0/mlflow/users/get?username=admin",
            token=provider.bearer(ada, groups=["MLFLOW_admin"]),
        )
    )
    assert [answer.status_code for answer in answers] == [200] * AT_ONCE, _worst(answers)
    assert_one_row(server, ada, f"{ada}@example.org")
    assert server.is_admin(f"{ada}@example.org") is True


def test_on_the_event_loop(server: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    """The first answers may ask to come again; none is a refusal, and the loop goes on meanwhile."""
    alice = person("alice")
    path = "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/missing"
    answers = all_at_once(lambda: server.call_native("GET", path, token=provider.bearer(alice)))
    assert {answer.status_code for answer in answers} <= {404, 500}, _worst(answers)
    assert_one_row(server, alice, f"{alice}@example.org")


def test_logins_at_once(server: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    """Twelve browsers of one new person come back from the provider in the same moment."""
    alice = person("alice")
    browsers = [Browser(server) for _ in range(12)]
    callbacks = [browser.authorize(browser.start_login(), alice) for browser in browsers]
    with ThreadPoolExecutor(len(browsers)) as pool:
        answers = list(pool.map(lambda pair: pair[0].open(pair[1]), zip(browsers, callbacks, strict=True)))
    assert [answer.status_code for answer in answers] == [302] * len(browsers), _worst(answers)
    assert all(browser.session() for browser in browsers)
    assert_one_row(server, alice, f"{alice}@example.org")


def test_in_a_server_that_has_seen_nobody(
    version: str, make_server: MakeServer, provider: Provider, person: Callable[..., str]
) -> None:
    """Two workers, no table of ours yet, no key fetched yet: whoever is first makes them, the others wait."""
    # By the other name of the function, for those whose environment has another top-level `auth`.
    function = "mlflow_oidc:authenticate_request"
    server = make_server(version, provider.issuer, workers=2, function=function)
    alice = person("alice")
    answers = all_at_once(lambda: server.call("GET", EXPERIMENTS, token=provider.bearer(alice)))
    assert [answer.status_code for answer in answers] == [200] * AT_ONCE, _worst(answers)
    assert_one_row(server, alice, f"{alice}@example.org")


def _worst(answers: list[requests.Response]) -> str:
    worst = max(answers, key=lambda answer: answer.status_code)
    return f"{worst.status_code} {worst.text[:300]}"
