"""The routes that never pass Flask: guarded by our hook from 3.4 to 3.14, by MLflow itself from 3.15 on."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from matrix import Cell

from support import otlp, venvs, wire
from support.browser import Browser
from support.cells import JOBS_TOKEN, is_guarded_by_us, not_there, since
from support.provider import Provider
from support.server import ADMIN, MlflowServer

Person = Callable[..., str]

TRACES = "/v1/traces"
EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


def _experiment(server: MlflowServer, token: str) -> str:
    """A new one, which then belongs to whose token it is."""
    path = "/api/2.0/mlflow/experiments/create"
    made = server.call("POST", path, token=token, json={"name": f"traced-{uuid.uuid4().hex[:8]}"})
    assert made.status_code == 200, made.text
    return str(made.json()["experiment_id"])


def _spans(server: MlflowServer, experiment: str) -> int:
    query = "SELECT count(*) FROM spans WHERE experiment_id = ?"
    return int(server.rows(query, experiment, database="mlflow.db")[0][0])


def test_a_bearer_on_a_native_route(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    token = provider.bearer(person("alice"))
    experiment = _experiment(plain, token)
    answer = plain.call_native("POST", TRACES, token=token, **otlp.trace(experiment))
    assert answer.status_code == 200, answer.text
    assert _spans(plain, experiment) == 1
    late = provider.bearer("alice", exp=1_700_000_000)
    wire.refusal(plain.call_native("POST", TRACES, token=late, **otlp.trace(experiment)), 401)
    wire.refusal(plain.call_native("POST", TRACES, **otlp.trace(experiment)), 401, "no_credentials")
    assert _spans(plain, experiment) == 1


def test_the_first_sight_of_a_person_is_on_a_native_route(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    """Nothing waits on the event loop, so it may be a 503 first, which MLflow's client waits out."""
    who = person("first")
    token = provider.bearer(who)
    answer = plain.call_native("POST", TRACES, token=token, **otlp.trace("0"))
    # 403: MLflow's own checks, since the experiment is nobody's.
    assert answer.status_code in (200, 403), answer.text
    assert plain.is_admin(f"{who}@example.org") is False


def test_a_session_on_a_native_route(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    alice, browser = person("alice"), Browser(plain)
    browser.login(provider, alice)
    experiment = _experiment(plain, provider.bearer(alice))
    for _ in range(10):
        answer = browser.xhr("POST", TRACES, **otlp.trace(experiment))
        if answer.status_code != 503:
            break
    assert answer.status_code == 200, answer.text
    evil = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    sent = otlp.trace(experiment)
    sent["headers"] |= evil
    assert browser.xhr("POST", TRACES, **sent).status_code == 403
    assert _spans(plain, experiment) == 1


def test_a_password_on_a_native_route(natives: Cell, plain: MlflowServer) -> None:
    assert plain.call_native("POST", TRACES, auth=ADMIN, **otlp.trace("0")).status_code == 200
    answer = plain.call_native("POST", TRACES, auth=(ADMIN[0], "wrong"), **otlp.trace("0"))
    assert answer.status_code == 401


def test_who_is_in_no_group_is_nobody_there_too(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    token = provider.bearer(person("mallory"), groups=["OTHER"])
    wire.refusal(plain.call_native("POST", TRACES, token=token, **otlp.trace("0")), 403)


def test_mlflows_client_logs_spans(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person, tmp_path: Path
) -> None:
    token = provider.bearer(person("alice"))
    experiment = _experiment(plain, token)
    venvs.output(
        plain.version,
        "log_spans.py",
        experiment,
        home=tmp_path,
        MLFLOW_TRACKING_URI=plain.url,
        MLFLOW_TRACKING_TOKEN=token,
    )
    assert _spans(plain, experiment) >= 1


def test_mlflows_own_checks_decide_with_the_name(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    """Up to 3.9 there are none for traces, so whoever is signed in may write them anywhere."""
    alice, bob = provider.bearer(person("alice")), provider.bearer(person("bob"))
    experiment = _experiment(plain, alice)
    answer = plain.call_native("POST", TRACES, token=bob, **otlp.trace(experiment))
    assert answer.status_code == (403 if since(natives, "3.10.0") else 200), answer.text
    ada = provider.bearer(person("ada"), groups=["MLFLOW_admin"])
    assert plain.call_native("POST", TRACES, token=ada, **otlp.trace(experiment)).status_code == 200


class _Model(http.server.BaseHTTPRequestHandler):
    """A model behind MLflow's gateway that says one word to everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        said = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [choice]}
        body = json.dumps({**said, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing between the tests' dots."""


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    """The address of a model."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def _endpoint(server: MlflowServer, token: str, model: str) -> str:
    """A gateway endpoint to that model; it belongs to whose token it is."""
    name, at = f"endpoint-{uuid.uuid4().hex[:8]}", "/api/3.0/mlflow/gateway"

    def made(what: str, **body: object) -> dict[str, object]:
        answer = server.call("POST", f"{at}/{what}/create", token=token, json=body)
        assert answer.status_code == 200, f"{what}: {answer.text}"
        said: dict[str, object] = next(iter(answer.json().values()))
        return said

    secret = made(
        "secrets",
        secret_name=name,
        secret_value={"api_key": "sk-of-a-model-provider"},
        provider="openai",
        auth_config={"api_base": model},
    )
    definition = made(
        "model-definitions",
        name=name,
        secret_id=secret["secret_id"],
        provider="openai",
        model_name="gpt",
    )
    config = {"model_definition_id": definition["model_definition_id"], "linkage_type": "PRIMARY"}
    # Without traces of its own, which it would write some time after a call, into the rows of other tests.
    configs = [{**config, "weight": 1}]
    made("endpoints", name=name, model_configs=configs, usage_tracking=False)
    return name


def test_the_gateway_asks_who_may_use_an_endpoint(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person, model: str
) -> None:
    """MLflow's check reads the model's name in the body, and the route has to find the body after it."""
    if not since(natives, "3.9.0"):
        not_there("the gateway is native since MLflow 3.9")
    alice, bob = provider.bearer(person("alice")), provider.bearer(person("bob"))
    path = "/gateway/mlflow/v1/chat/completions"
    body = {"model": _endpoint(plain, alice, model), "messages": [{"role": "user", "content": "hello"}]}
    wire.refusal(plain.call_native("POST", path, json=body), 401)
    # By default_permission everybody may read, which is not to use.
    assert plain.call_native("POST", path, token=bob, json=body).status_code == 403
    # X-MLflow-Authorization is who calls, Authorization then the caller's key for the model.
    both = {"X-MLflow-Authorization": f"Bearer {alice}", "Authorization": "Bearer sk-of-a-model-provider"}
    for headers in ({"Authorization": f"Bearer {alice}"}, both):
        answer = plain.call_native("POST", path, headers=headers, json=body)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        assert answer.json()["choices"][0]["message"]["content"] == "word"


def test_mlflows_jobs_reach_the_gateway_and_nothing_else(
    natives: Cell, plain: MlflowServer, provider: Provider, person: Person
) -> None:
    """MLflow 3.11 to 3.17 make the token of its jobs; with a custom function it is ours to know it."""
    if not since(natives, "3.11.1"):
        not_there("MLflow's jobs have a token since 3.11.1")
    alice = person("alice")
    name = f"{alice}@example.org"
    assert plain.call("GET", EXPERIMENTS, token=provider.bearer(alice)).status_code == 200
    gateway = "/gateway/none/mlflow/invocations"
    for auth, path, status in (
        ((name, JOBS_TOKEN), gateway, 403),  # let in, and may not use what is not there
        ((name, JOBS_TOKEN[:-1] + "x"), gateway, 401),
        (("nobody@example.org", JOBS_TOKEN), gateway, 401),
        ((name, JOBS_TOKEN), TRACES, 401),
        ((name, JOBS_TOKEN), "/ajax-api/3.0/jobs/search", 401),
    ):
        assert plain.call_native("POST", path, auth=auth, json={}).status_code == status, (auth[0], path)
    assert plain.call("GET", EXPERIMENTS, auth=(name, JOBS_TOKEN)).status_code == 401


# As they go over the wire: nothing here normalises a path.
SPELLINGS = [
    "/v1/traces",
    "//v1/traces",
    "/v1//traces",
    "/V1/traces",
    "/v1/traces/",
    "/v1/./traces",
    "/x/../v1/traces",
    "/static/../v1/traces",
    "/health/../v1/traces",
    "/health/%2e%2e/v1/traces",
    "/v1%2Ftraces",
    "/%76%31/traces",
    "/v1/traces%0A",
    "/v1/traces%00",
    "/v1/traces%20",
    "/v1/traces;x=/health",
    "/v1/traces?/health",
    "/v1/traces#/health",
    "/v1/traces%3F",
    "http://127.0.0.1/v1/traces",
    "http://127.0.0.1/health/v1/traces",
    "/health/v1/traces",
    "/ml/v1/traces",
    "/api/3.0/v1/traces",
]
# MLflow 3.9 to 3.13 match a path that has been put together from this header.
HOSTS = [None, "127.0.0.1/health?", "127.0.0.1/static/x?", "x/health#", "evil.example", ""]


@pytest.mark.parametrize(
    "method", ["POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "post", "TRACE"]
)
def test_no_spelling_leads_past_the_guard(natives: Cell, plain: MlflowServer, method: str) -> None:
    # Of this experiment alone: MLflow's gateway writes traces of its own, some time after a call.
    before, wrong = _spans(plain, "0"), []
    for path in SPELLINGS if method in ("POST", "GET") else SPELLINGS[:6]:
        for host in HOSTS if path.startswith(("/v1/traces", "//", "/health")) else HOSTS[:1]:
            status = _raw(plain, method, path, host)
            # /health itself is open, whatever stands behind it; the rows say that it was no way in.
            if status < 400 and not path.startswith(("/health", "http://127.0.0.1/health")):
                wrong.append(f"{method} {path} Host: {host}: {status}")
    assert _spans(plain, "0") == before
    assert not wrong, "\n".join(wrong)


def _raw(server: MlflowServer, method: str, path: str, host: str | None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    sent = otlp.trace("0")
    try:
        connection.putrequest(method, "/", skip_host=True, skip_accept_encoding=True)
        # http.client refuses to send some of these; the first line is put right by hand.
        connection._buffer[0] = f"{method} {path} HTTP/1.1".encode()  # type: ignore[attr-defined]
        connection.putheader("Host", f"127.0.0.1:{server.port}" if host is None else host)
        for name, value in sent["headers"].items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(sent["data"])))
        connection.endheaders(sent["data"])
        return connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        # The server hung up on it.
        return 400
    finally:
        connection.close()


def test_the_log_says_that_the_guard_is_there(cell: Cell, plain: MlflowServer) -> None:
    """One line a worker; on other versions and under gunicorn there is nothing of ours to guard."""
    line = "mlflow-oidc guards the native routes"
    assert plain.log_text().count(line) == (plain.workers if is_guarded_by_us(cell) else 0)
    assert "does not guard" not in plain.log_text()
