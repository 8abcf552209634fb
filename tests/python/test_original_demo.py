"""The demo of the blog that this project comes from: five variables, one line of basic_auth.ini, one command.

The provider mock stands in Keycloak's place. The folder is empty at first, as on a new machine.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from support import venvs, wire
from support.browser import Browser
from support.provider import CLIENT_ID, CLIENT_SECRET, Provider
from support.server import ADMIN, MakeServer, MlflowServer

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def demo(version: str, make_module_server: MakeServer, provider: Provider) -> MlflowServer:
    """`mlflow server --dev --workers 1 --app-name basic-auth --host 0.0.0.0 --port <free>`, jobs and all.

    Only the port is another, and MLflow 3.17.2 itself refuses `--dev` together with `--app-name`.
    """
    line = ["--workers", "1", "--host", "0.0.0.0"]
    return make_module_server(
        version,
        provider.issuer,
        settings={
            "OIDC_ISSUER_URL": provider.issuer,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_USERNAME_CLAIM": "email",
            "OIDC_USER_GROUP": "MLFLOW",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true",
        },
        arguments=line if version.startswith("3.") else ["--dev", *line],
        function="auth.oidc_auth:authenticate_request",
        fresh=True,
    )


def test_the_four_cases(demo: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    # 1. A program sends a JWT. Keycloak's groups come as paths.
    program = person("program", groups=["/MLFLOW"])
    assert demo.call("GET", EXPERIMENTS, token=provider.id_token(program)).status_code == 200
    assert demo.is_admin(f"{program}@example.org") is False

    # 2. and 3. A browser without a session is sent to the provider, which calls back.
    alice = person("alice", groups=["/MLFLOW"])
    browser = Browser(demo)
    page, at = browser.login(provider, alice)
    assert (page.status_code, at) == (200, demo.url + "/")
    assert 'id="root"' in page.text

    # 4. Every later page and XHR of MLflow's UI.
    assert browser.open(demo.url + "/").status_code == 200
    found = browser.xhr("POST", "/ajax-api/2.0/mlflow/experiments/search", json={"max_results": 10})
    assert found.status_code == 200
    assert browser.signed_in()["username"] == f"{alice}@example.org"
    if demo.modern:
        current = browser.xhr("GET", "/ajax-api/2.0/mlflow/users/current")
        assert f"{alice}@example.org" in current.text


def test_the_original_admin_rule(demo: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    ada = person("ada", groups=["MLFLOW_admin"])
    browser = Browser(demo)
    browser.login(provider, ada)
    assert browser.signed_in()["is_admin"] is True
    path = f"/api/2.0/mlflow/users/get?username={quote(ADMIN[0])}"
    assert browser.xhr("GET", path).status_code == 200

    mallory = person("mallory", groups=[])
    page, _ = Browser(demo).login(provider, mallory)
    assert page.status_code == 403
    assert "MLFLOW" in page.text
    assert demo.user(f"{mallory}@example.org") is None


def test_a_training_script(
    demo: MlflowServer, provider: Provider, person: Callable[..., str], tmp_path: Path
) -> None:
    """MlflowClient with MLFLOW_TRACKING_TOKEN: runs, metrics, an artifact up and down, a model, a trace."""
    name = f"training-{uuid.uuid4().hex[:8]}"
    said = venvs.output(
        demo.version,
        "log_run.py",
        name,
        home=tmp_path,
        MLFLOW_TRACKING_URI=demo.url,
        MLFLOW_TRACKING_TOKEN=provider.id_token(person("alice")),
    )
    seen = json.loads(said.splitlines()[-1])
    assert seen["params"] == {"depth": "3"}
    assert seen["metrics"] == {"loss": 0.5}
    assert seen["artifacts"] == ["models/model.bin"]
    assert seen["same_bytes"] is True
    assert seen["status"] == "FINISHED"
    assert seen["model"] == f"{name}-renamed"
    assert seen["traces"] == (1 if demo.modern else None)


def test_the_gateway(demo: MlflowServer, provider: Provider, person: Callable[..., str]) -> None:
    """There `Authorization` may be the caller's key for a model; MLflow has a header of its own."""
    path = "/gateway/mlflow/v1/models"
    good, foreign = f"Bearer {provider.bearer(person('alice'))}", "Bearer sk-the-key-of-a-model-provider"
    if not demo.modern:
        assert demo.call("GET", path, headers={"Authorization": good}).status_code == 404
        return
    both = {"X-MLflow-Authorization": good, "Authorization": foreign}
    assert demo.call_native("GET", path, headers=both).status_code == 200
    assert demo.call_native("GET", path, headers={"Authorization": good}).status_code == 200
    wire.refusal(demo.call("GET", path, headers={"Authorization": foreign}), 401)
    wire.refusal(demo.call("GET", path, headers={**both, "X-MLflow-Authorization": foreign}), 401)
    wire.refusal(demo.call("GET", path), 401)


def test_mlflows_own_jobs_reach_the_gateway_and_nothing_else(
    demo: MlflowServer, provider: Provider, person: Callable[..., str]
) -> None:
    """MLflow 3.11 to 3.17 give their jobs a token that only the default function would know."""
    name = f"{person('alice')}@example.org"
    path = "/gateway/mlflow/v1/models"
    assert demo.call("GET", EXPERIMENTS, token=provider.bearer(name.partition("@")[0])).status_code == 200
    token = demo.variable_of_a_worker("_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN")
    assert (token is not None) == demo.modern
    if token is None:
        return
    assert demo.call_native("GET", path, auth=(name, token)).status_code == 200
    assert demo.call_native("GET", path, auth=(name, token[:-1] + "x")).status_code == 401
    assert demo.call_native("GET", path, auth=("nobody@example.org", token)).status_code == 401
    for other in (EXPERIMENTS, "/gatewayx", "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/x"):
        assert demo.call_native("GET", other, auth=(name, token)).status_code == 401, other


def test_without_a_token(demo: MlflowServer) -> None:
    wire.refusal(demo.call("GET", EXPERIMENTS), 401, "no_credentials")
