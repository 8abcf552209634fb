"""A provider that answers the exchange of the code with something wrong: nobody is signed in by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import requests

from support import browser as browsers
from support import tokens
from support.browser import Browser
from support.provider import CLIENT_ID
from support.scripted import Answer, ScriptedProvider
from support.server import MakeServer, MlflowServer

OTHER = tokens.Key.rsa()


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedProvider]:
    running = ScriptedProvider().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(make_module_server: MakeServer, scripted: ScriptedProvider) -> MlflowServer:
    """No version of MLflow has a part in what is judged here, so the one that starts fastest does."""
    return make_module_server("2.9.2", scripted.issuer)


def come_back(server: MlflowServer, scripted: ScriptedProvider) -> tuple[Browser, requests.Response]:
    """To the provider and back with a code, which is then exchanged for whatever the script says."""
    browser = Browser(server)
    answer = browser.open(server.url + "/oidc/login?next=/&go=1")
    asked = browsers.query_of(answer.headers["Location"])
    scripted.nonce = asked["nonce"]
    return browser, browser.open(f"{server.url}/oidc/callback?code=a-code&state={asked['state']}")


def test_a_good_answer(server: MlflowServer, scripted: ScriptedProvider) -> None:
    """The rows below are refused for what they change, and not because this provider is no good at all."""
    scripted.answers.pop("/token", None)
    browser, answer = come_back(server, scripted)
    assert answer.status_code == 302, answer.text
    assert browser.signed_in()["username"] == "alice@example.org"


def with_claims(**claims: object) -> Callable[[ScriptedProvider], Answer]:
    def make(provider: ScriptedProvider) -> Answer:
        good = tokens.bearer_claims(provider.issuer, "mallory", CLIENT_ID, nonce=provider.nonce)
        changed = {name: value for name, value in {**good, **claims}.items() if value is not None}
        return provider.token_answer(id_token=provider.key.token(changed))

    return make


def _claims(provider: ScriptedProvider) -> tokens.Json:
    return tokens.bearer_claims(provider.issuer, "mallory", CLIENT_ID, nonce=provider.nonce)


ANSWERS: dict[str, tuple[Callable[[ScriptedProvider], Answer], tuple[str, ...]]] = {
    "no nonce": (with_claims(nonce=None), ("token_nonce",)),
    "another nonce": (with_claims(nonce="x" * 43), ("token_nonce",)),
    "another issuer": (with_claims(iss="https://evil.example"), ("token_issuer",)),
    "another audience": (with_claims(aud="another"), ("token_audience",)),
    "our API's audience": (with_claims(aud="mlflow-api"), ("token_audience",)),
    "issued to another": (with_claims(aud=[CLIENT_ID, "b"], azp="b"), ("token_authorized_party",)),
    "expired": (with_claims(exp=int(time.time()) - 3600), ("token_expired",)),
    "no issue time": (with_claims(iat=None), ("token_issued_at", "token_claim")),
    "no subject": (with_claims(sub=None), ("token_subject", "token_claim")),
    "another access token's hash": (with_claims(at_hash="x" * 22), ("token_at_hash",)),
    "other key": (
        lambda p: p.token_answer(id_token=OTHER.token(_claims(p), kid=p.key.kid)),
        ("token_signature",),
    ),
    "none": (
        lambda p: p.token_answer(id_token=tokens.encode({"alg": "none"}, _claims(p), tokens.unsigned)),
        ("token_algorithm", "token_malformed"),
    ),
    "no ID token": (
        lambda p: Answer(body={"access_token": "x", "token_type": "Bearer"}),
        ("provider_answer",),
    ),
    "no JSON": (lambda p: Answer(body=b"<html>"), ("provider_answer",)),
    "an error": (lambda p: Answer(400, {"error": "invalid_grant"}), ("provider_error", "login_expired")),
    "a fault": (
        lambda p: Answer(500, b"oops"),
        ("provider_error", "provider_answer", "provider_unreachable"),
    ),
    "a redirect": (
        lambda p: Answer(302, {}, {"Location": "http://localhost:9/token"}),
        ("provider_answer", "provider_error", "provider_unreachable"),
    ),
    "too much": (
        lambda p: p.token_answer(padding="x" * 1_200_000),
        ("provider_answer", "provider_unreachable"),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_answer(server: MlflowServer, scripted: ScriptedProvider, name: str) -> None:
    make, codes = ANSWERS[name]
    scripted.answers["/token"] = lambda: make(scripted)
    browser, answer = come_back(server, scripted)
    assert answer.status_code >= 400, answer.headers
    assert answer.headers["Content-Type"].startswith("text/html")
    assert any(code in answer.text for code in codes), answer.text
    assert browser.session() is None
    assert server.user("mallory@example.org") is None


def test_what_the_provider_says_is_not_a_page_of_ours(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    """An error's description is somebody else's text: it is never markup here."""
    script = "<script>alert(1)</script>"
    scripted.answers["/token"] = Answer(400, {"error": "invalid_grant", "error_description": script})
    _, answer = come_back(server, scripted)
    assert script not in answer.text
    browser = Browser(server)
    started = browser.open(server.url + "/oidc/login?next=/&go=1")
    state = browsers.query_of(started.headers["Location"])["state"]
    query = f"error=%3Cscript%3E&error_description={script}&state={state}"
    answer = browser.open(f"{server.url}/oidc/callback?{query}")
    assert answer.status_code >= 400
    assert script not in answer.text
