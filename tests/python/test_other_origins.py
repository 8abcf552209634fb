"""A page of another origin and a cookie: no method on no route of MLflow changes anything."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import wire
from support.browser import Browser
from support.engines import Engines
from support.provider import Provider
from support.server import MlflowServer, settings_for

Person = Callable[..., str]
Headers = list[tuple[str, str]]


def foreign(own: str) -> list[Headers]:
    """How a request looks that another page made: in newer browsers, in older ones, in none that we know."""
    scheme, _, host = own.partition("://")
    name, _, port = host.partition(":")
    rows: list[tuple[str | None, str | None]] = [
        ("cross-site", "http://evil.example"),
        ("cross-site", "null"),
        ("cross-site", own),
        ("cross-site", None),
        ("same-site", f"{scheme}://{name}:1"),
        ("same-site", own),
        ("same-site", None),
        ("Same-Origin", own),
        ("SAME-ORIGIN", own),
        ("same-origin, cross-site", own),
        ("same-origin;x", own),
        ("none, cross-site", None),
        ("same-origin none", own),
        ("sameorigin", own),
        ("?1", own),
        ("", own),
        ("", None),
        (None, "null"),
        (None, ""),
        (None, "http://evil.example"),
        (None, f"https://{host}"),
        (None, f"{scheme}://{name}"),
        (None, f"{scheme}://{name}:1"),
        (None, f"{scheme}://{name}:{port}0"),
        (None, f"{scheme}://localhost:{port}"),
        (None, f"{scheme}://[::1]:{port}"),
        (None, f"{own}.evil.example"),
        (None, f"{own}@evil.example"),
        (None, f"{scheme}://evil.example/{host}"),
        (None, f"{own}/"),
        (None, f"{own}/x"),
        (None, f"{own}?"),
        (None, f"{own} http://evil.example"),
        (None, f"http://evil.example {own}"),
        (None, f"{own}, {own}"),
        (None, own.upper()),
        (None, host),
        (None, f"//{host}"),
        (None, "file://"),
        (None, "*"),
    ]
    found: list[Headers] = [
        [(key, value) for key, value in (("Sec-Fetch-Site", site), ("Origin", origin)) if value is not None]
        for site, origin in rows
    ]
    # Twice: no browser sends that, and no order of the two may be the lenient one.
    found += [
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-origin")],
        [("Origin", "http://evil.example"), ("Origin", own)],
    ]
    return found


def own(origin: str) -> list[Headers]:
    """Our own pages, the address bar, and programs that keep a cookie."""
    return [
        [("Sec-Fetch-Site", "same-origin"), ("Origin", origin)],
        [("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "none")],
        [("Origin", origin)],
        [],
    ]


class Victim:
    """An administrator at a browser, and things of MLflow's that another page would like to change."""

    def __init__(self, server: MlflowServer, provider: Provider, person: Person) -> None:
        self.server = server
        browser = Browser(server)
        browser.login(provider, person("ada", groups=["MLFLOW_admin"]))
        ((name, value),) = browser.cookies[browser.origin].items()
        self.cookie = f"{name}={value}"
        mark = uuid.uuid4().hex[:8]
        self.user, self.model, self.name = f"carol-{mark}", f"model-{mark}", f"experiment-{mark}"
        made = server.admin("POST", "/api/2.0/mlflow/experiments/create", json={"name": self.name})
        self.experiment = made["experiment_id"]
        server.admin("POST", "/api/2.0/mlflow/registered-models/create", json={"name": self.model})
        password = {"username": self.user, "password": "a-password-of-her-own-123"}
        server.admin("POST", "/api/2.0/mlflow/users/create", json=password)
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def routes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(method, path, body) that change something, of every kind of route that MLflow has."""
        user, model, experiment = {"username": self.user}, {"name": self.model}, self.experiment
        found: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/api/2.0/mlflow/experiments/create", {"name": f"new-{self.name}"}),
            ("POST", "/ajax-api/2.0/mlflow/experiments/create", {"name": f"new-{self.name}"}),
            ("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}),
            ("POST", "/ajax-api/2.0/mlflow/runs/create", {"experiment_id": experiment}),
            ("POST", "/api/2.0/mlflow/registered-models/rename", {**model, "new_name": f"x-{self.model}"}),
            ("PATCH", "/api/2.0/mlflow/registered-models/update", {**model, "description": "x"}),
            ("DELETE", "/api/2.0/mlflow/registered-models/delete", model),
            ("PATCH", "/api/2.0/mlflow/users/update-admin", {**user, "is_admin": True}),
            ("PATCH", "/api/2.0/mlflow/users/update-password", {**user, "password": "of-somebody-else-123"}),
            ("DELETE", "/api/2.0/mlflow/users/delete", user),
            ("POST", "/api/2.0/mlflow/users/create", {"username": "x", "password": "of-somebody-else-123"}),
            ("POST", "/api/2.0/mlflow/users/create-ui", {"username": "x", "password": "of-somebody-else-1"}),
            ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x.txt", {}),
            ("POST", "/oidc/logout", {}),
            ("POST", "/", {}),
            ("POST", "/no/such/path", {}),
            # Methods that nobody knows, and one that some servers read in capitals.
            ("FOO", "/api/2.0/mlflow/experiments/create", {"name": f"new-{self.name}"}),
            ("post", "/api/2.0/mlflow/experiments/create", {"name": f"new-{self.name}"}),
            ("TRACE", "/api/2.0/mlflow/experiments/create", {}),
        ]
        if self.server.modern:
            found += [
                ("POST", "/graphql", {"query": 'mutation { testMutation(inputString: "x") { output } }'}),
                ("DELETE", "/api/3.0/mlflow/workspaces/default", {}),
                ("POST", "/api/3.0/mlflow/roles/create", {"name": "x", "workspace": "default"}),
                # Answered on the event loop.
                ("POST", "/v1/traces", {}),
                ("POST", "/gateway/mlflow/v1/chat/completions", {"model": "x", "messages": []}),
                ("POST", "/gateway/x/mlflow/invocations", {}),
                ("POST", "/api/3.0/mlflow/mcp-servers", {"name": "io.example/x"}),
                ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/x.txt", {}),
                ("PUT", "/ajax-api/3.0/mlflow/assistant/config", {"providers": {}}),
                ("POST", "/ajax-api/3.0/jobs/", {"job_name": "x", "params": {}}),
                ("PATCH", "/ajax-api/3.0/jobs/cancel/x", {}),
            ]
        return found

    def send(
        self, method: str, path: str, body: dict[str, Any], headers: Headers, kind: str = "text/plain"
    ) -> tuple[int, str]:
        """With the cookie; as a form of another page can send it, JSON goes under the name of plain text."""
        data = json.dumps(body).encode()
        self.connection.putrequest(method, path)
        for name, value in [*headers, ("Cookie", self.cookie), ("Content-Type", kind)]:
            self.connection.putheader(name, value)
        self.connection.putheader("Content-Length", str(len(data)))
        self.connection.endheaders(data)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def rows(self) -> dict[str, Any]:
        """All that MLflow and we have written down, and every artifact."""
        databases = ("basic_auth.db", "basic_auth.db-oidc", "mlflow.db")
        found: dict[str, Any] = {name: self.server.every_row(name) for name in databases}
        return {**found, "artifacts": sorted((self.server.folder / "artifacts").rglob("*"))}


@pytest.fixture
def victim(guarded: Engines, provider: Provider, person: Person) -> Iterator[Victim]:
    guarded.fresh(settings_for(provider.issuer))
    made = Victim(guarded.server, provider, person)
    yield made
    made.connection.close()


def test_nothing_is_changed_for_another_origin(victim: Victim) -> None:
    before, count = victim.rows(), 0
    for method, path, body in victim.routes():
        for headers in foreign(victim.server.url):
            status, text = victim.send(method, path, body, headers)
            told = f"{method} {path} {headers}: {status} {text[:300]}"
            # The HTTP server itself refuses some methods, and MLflow some origins.
            if method in ("FOO", "post", "TRACE"):
                assert 400 <= status < 500, told
            else:
                assert status == 403, told
                assert text == "Cross-origin request blocked" or json.loads(text)["code"] == "cross_origin", (
                    told
                )
            count += 1
    assert victim.rows() == before
    assert count > 700


def test_what_is_asked_with_get_is_no_change_whatever_headers_say(victim: Victim) -> None:
    """Reading is let through, so no header and no parameter may turn it into something else."""
    before = victim.rows()
    for method, path, body in victim.routes():
        for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method"):
            for address in (path, f"{path}?_method={method}"):
                headers = [("Sec-Fetch-Site", "same-site"), (name, method)]
                status, text = victim.send("GET", address, body, headers)
                assert "Traceback" not in text, f"{address} {headers}: {status} {text[:300]}"
    assert victim.rows() == before


def test_our_own_pages_may_change_what_they_like(victim: Victim) -> None:
    for number, headers in enumerate(own(victim.server.url)):

        def send(path: str, body: dict[str, Any], headers: Headers = headers) -> tuple[int, str]:
            return victim.send("POST", path, body, headers, "application/json")

        for base in ("/api", "/ajax-api"):
            answer = send(f"{base}/2.0/mlflow/experiments/create", {"name": f"{number}{base}{victim.name}"})
            assert answer[0] == 200, f"{headers}: {answer}"
        if victim.server.modern:
            answer = send("/graphql", {"query": '{ test(inputString: "x") { output } }'})
            assert answer[0] == 200, f"{headers}: {answer}"
            # On the event loop it is now MLflow that finds something wrong.
            answer = send("/v1/traces", {})
            assert answer[0] in (400, 415, 422), f"{headers}: {answer}"


def test_a_header_of_its_own_needs_no_such_proof(victim: Victim, provider: Provider, person: Person) -> None:
    """Another page can make a browser send a cookie, but not a bearer that it does not have."""
    token, path = provider.bearer(person("bob")), "/api/2.0/mlflow/experiments/create"
    ours = 0
    for number, headers in enumerate(foreign(victim.server.url)):
        body = {"name": f"bearer-{number}-{victim.name}"}
        answer = wire.send("POST", victim.server.url + path, token=token, headers=dict(headers), json=body)
        # MLflow's own guard makes no difference between the two.
        if answer.text != "Cross-origin request blocked":
            assert answer.status_code == 200, f"{headers}: {answer.status_code} {answer.text}"
            ours += 1
    assert ours > 20
