"""MLflow's own users and their passwords, beside the provider's people or without them."""

from __future__ import annotations

import base64
import uuid
from urllib.parse import quote

import pytest

from support import wire
from support.browser import Browser
from support.provider import Provider
from support.server import ADMIN, PUBLIC, MlflowServer

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


def basic(name: str, password: str, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_mlflows_own_users_go_on_working(server: MlflowServer) -> None:
    assert server.call("GET", EXPERIMENTS, headers=basic(*ADMIN)).status_code == 200
    assert server.call("GET", EXPERIMENTS, headers=basic(*ADMIN, scheme="basic")).status_code == 200
    name, password = f"local-{uuid.uuid4().hex}", "a-password-of-its-own-123"
    server.admin("POST", "/api/2.0/mlflow/users/create", json={"username": name, "password": password})
    mine = server.call("GET", f"/api/2.0/mlflow/users/get?username={name}", headers=basic(name, password))
    assert mine.status_code == 200
    assert mine.json()["user"]["is_admin"] is False
    other = server.call(
        "GET", f"/api/2.0/mlflow/users/get?username={ADMIN[0]}", headers=basic(name, password)
    )
    assert other.status_code == 403


def test_on_native_routes_too(server: MlflowServer) -> None:
    path = f"/api/2.0/mlflow-artifacts/artifacts/0/{uuid.uuid4().hex}/artifacts/x"
    assert server.call_native("PUT", path, headers=basic(*ADMIN), data=b"x").status_code == 200
    assert server.call_native("GET", path, headers=basic(*ADMIN)).content == b"x"


@pytest.mark.parametrize(
    "credentials",
    [(ADMIN[0], "wrong"), (ADMIN[0], ""), ("nobody", "nothing"), ("", ""), (ADMIN[0], ADMIN[1] + " ")],
    ids=["wrong", "empty", "unknown", "nothing", "longer"],
)
def test_a_wrong_password(server: MlflowServer, credentials: tuple[str, str]) -> None:
    for path in (EXPERIMENTS, "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/x"):
        answer = server.call_native("GET", path, headers=basic(*credentials))
        assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("header", ["Basic", "Basic ", "Basic !!!", "Basic bm9jb2xvbg=="])
def test_a_malformed_header(server: MlflowServer, header: str) -> None:
    answer = server.call("GET", EXPERIMENTS, headers={"Authorization": header})
    assert answer.status_code == 401, answer.text


def test_switched_off_means_off(secure: MlflowServer) -> None:
    server = secure
    paths = [("GET", EXPERIMENTS), ("GET", "/"), ("POST", "/api/2.0/mlflow/users/create")]
    if server.modern:
        paths += [("POST", "/v1/traces"), ("GET", "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/x")]
    for method, path in paths:
        answer = server.call_native(method, path, headers=basic(*ADMIN))
        said = wire.refusal(answer, 401, "basic_auth_disabled")
        assert "OIDC_BASIC_AUTH" in said["message"] or "token" in said["message"].lower(), said


def test_switched_off_the_provider_is_the_only_door(secure: MlflowServer, provider: Provider) -> None:
    server = secure
    subject = f"ada-{uuid.uuid4().hex}"
    provider.put_user(subject, groups=["MLFLOW_admin"])
    browser = Browser(server, public=PUBLIC)
    browser.login(provider, subject)
    assert browser.signed_in()["is_admin"] is True
    # A local user made by an administrator has a password that opens nothing.
    name, password = f"local-{subject}", "a-password-of-its-own-123"
    made = browser.xhr("POST", "/api/2.0/mlflow/users/create", json={"username": name, "password": password})
    assert made.status_code == 200, made.text
    answer = server.call(
        "GET", f"/api/2.0/mlflow/users/get?username={quote(name)}", headers=basic(name, password)
    )
    wire.refusal(answer, 401, "basic_auth_disabled")
