"""Somebody in 300 groups: what their tokens and logins meet, at the servers that MLflow runs on."""

from __future__ import annotations

import uuid

import pytest

from support import wire
from support.browser import Browser
from support.people import Command
from support.provider import Provider
from support.server import MakeServer

GROUPS = ["MLFLOW", *(f"company-team-{number:04}" for number in range(299))]
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
# What gunicorn allows a header by default, in bytes.
GUNICORNS_LIMIT = 8190


@pytest.mark.parametrize("version", ["3.17.2", "2.9.2"])
def test_somebody_in_300_groups(make_server: MakeServer, provider: Provider, version: str) -> None:
    """uvicorn takes a header of 64 kB; gunicorn has to be told to."""
    more = {"2.9.2": ["--gunicorn-opts", "--limit-request-field_size 65000"]}.get(version, [])
    server = make_server(version, provider.issuer, more=more)
    ada = f"ada-{uuid.uuid4().hex[:12]}"
    name = provider.put_user(ada, groups=GROUPS)
    token = provider.bearer(ada, groups=GROUPS)
    assert len(token) > GUNICORNS_LIMIT
    for _ in range(2):
        assert server.call("GET", EXPERIMENTS, token=token).status_code == 200
    browser = Browser(server)
    browser.login(provider, ada)
    assert browser.signed_in()["groups"] == sorted(GROUPS)
    assert browser.cookie is not None
    assert len(browser.cookie) < 1_000, "the groups are not in the cookie"
    assert Command(server).person(name)["groups"] == sorted(GROUPS)
    # In another order they are the same groups.
    again = provider.bearer(ada, groups=GROUPS[::-1])
    assert server.call("GET", EXPERIMENTS, token=again).status_code == 200
    assert Command(server).person(name)["groups"] == sorted(GROUPS)


def test_gunicorn_refuses_such_a_token_before_anybody_sees_it(
    make_server: MakeServer, provider: Provider
) -> None:
    """So that docs/performance.md says what to do."""
    server = make_server("2.9.2", provider.issuer)
    ada = f"ada-{uuid.uuid4().hex[:12]}"
    token = provider.bearer(ada, groups=GROUPS)
    answer = wire.send("GET", server.url + EXPERIMENTS, token=token)
    assert answer.status_code == 431
    few = provider.bearer(ada, groups=GROUPS[:200])
    assert len(few) < GUNICORNS_LIMIT - len("Authorization: Bearer ")
    assert server.call("GET", EXPERIMENTS, token=few).status_code == 200
