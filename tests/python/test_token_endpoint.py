"""The exchange of a code that brings no answer: what of the provider never gets past the transport.

What is wrong with an answer that can be read is in the table of refusals (`test_rejects.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import requests

from support import browser as browsers
from support.browser import Browser
from support.scripted import Answer, ScriptedProvider
from support.server import MakeServer, MlflowServer


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


# What the transport stops.
ANSWERS: dict[str, Callable[[ScriptedProvider], Answer]] = {
    "a redirect": lambda p: Answer(302, {}, {"Location": "http://localhost:9/token"}),
    "too much": lambda p: p.token_answer(padding="x" * 1_200_000),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_bad_answer(server: MlflowServer, scripted: ScriptedProvider, name: str) -> None:
    scripted.answers["/token"] = lambda: ANSWERS[name](scripted)
    asked, deadline = scripted.count("/token"), time.monotonic() + 20
    while scripted.count("/token") == asked:
        # After a fault the provider is left alone for a while: then it is not this answer that is refused.
        assert time.monotonic() < deadline, "the provider is not asked again"
        time.sleep(0.2)
        browser, answer = come_back(server, scripted)
    assert answer.status_code == 503, answer.headers
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "provider_unreachable" in answer.text
    assert browser.session() is None
    assert server.user("mallory@example.org") is None
