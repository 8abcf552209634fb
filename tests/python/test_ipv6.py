"""MLflow and a provider on [::1]: addresses in brackets, everywhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from support import browser as browsers
from support import wire
from support.browser import Browser
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

Person = Callable[..., str]

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def six() -> Iterator[Provider]:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as fault:
        told = f"no IPv6 on this machine: {fault}"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    running = Provider("::1").start()
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["by the Host header", "by OIDC_PUBLIC_URL"])
def mlflow(request: pytest.FixtureRequest, six: Provider, make_module_server: MakeServer) -> MlflowServer:
    server = make_module_server("3.17.2", six.issuer, host="::1", settings=settings_for(six.issuer))
    if request.param == "by OIDC_PUBLIC_URL":
        server.restart(OIDC_PUBLIC_URL=server.url)
    return server


def test_the_whole_way_in_and_out(mlflow: MlflowServer, six: Provider) -> None:
    assert mlflow.url.startswith("http://[::1]:")
    six.put_user("alice")
    browser = Browser(mlflow)
    form = browser.start_login("/?x=1")
    assert form.startswith("http://[::1]:")
    assert browsers.query_of(form)["redirect_uri"] == f"{mlflow.url}/oidc/callback"
    callback = browser.authorize(form, "alice")
    page, at = browser.follow(browser.open(callback), callback)
    assert (page.status_code, at) == (200, f"{mlflow.url}/?x=1")
    assert browser.signed_in()["username"] == "alice@example.org"
    made = browser.xhr("POST", "/ajax-api/2.0/mlflow/experiments/create", json={"name": "six"})
    assert made.status_code == 200, made.text
    other = browser.xhr(
        "POST",
        "/ajax-api/2.0/mlflow/experiments/create",
        json={"name": "never made"},
        headers={"Origin": "http://[::2]", "Sec-Fetch-Site": "cross-site"},
    )
    assert other.status_code == 403
    onward = browsers.goes_on_to(browser.logout())
    assert onward is not None
    assert browsers.query_of(onward)["post_logout_redirect_uri"].startswith(mlflow.url)
    assert browser.session() is None


def test_programs(mlflow: MlflowServer, six: Provider) -> None:
    six.put_user("bob")
    assert mlflow.call("GET", EXPERIMENTS, token=six.bearer("bob")).status_code == 200
    refused = mlflow.call("GET", EXPERIMENTS)
    wire.refusal(refused, 401, "no_credentials")
    (challenge,) = wire.every(refused, "WWW-Authenticate")
    assert f'resource_metadata="{mlflow.url}/' in challenge
