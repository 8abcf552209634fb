"""Where a row is tried: one function for each place, which gives the answers that are to be judged."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import requests

from support import tokens
from support.rejects import script, token
from support.rejects.provider import Answer
from support.rejects.run import Run
from support.rejects.values import evaluate

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
NATIVE = "/v1/traces"


def bearer(run: Run) -> list[requests.Response]:
    """A route of Flask's, and one that never passes Flask where MLflow has such."""
    spoilt = run.keep_secret(token.spoilt(run.row, run.names, run.claims(token.bearer_claims)))
    if run.row.http_server:
        raw(run, "GET", EXPERIMENTS, {"Authorization": f"Bearer {spoilt}"})
        return []
    headers = {"Authorization": b"Bearer " + spoilt.encode()}
    answers = [run.server.call("GET", EXPERIMENTS, headers=headers)]
    if run.server.modern:
        answers += come_again(run, "POST", NATIVE, headers=headers)
    return answers


def come_again(run: Run, method: str, path: str, **arguments: Any) -> list[requests.Response]:
    """On MLflow's event loop nothing waits: whoever is told to come again does so, as MLflow's client does.

    Where 503 is the refusal, it is the first answer, and it may be that something is still being looked for.
    """
    for _ in range(15):
        answer = run.server.call(method, path, **arguments)
        if answer.status_code != 503:
            break
        code = json.loads(answer.text)["code"]
        if code == run.row.code:
            break
        assert code == "provider_pending", answer.text
        if run.status == 503:
            return []
        time.sleep(int(answer.headers["Retry-After"]))
    return [answer]


def raw(run: Run, method: str, path: str, headers: dict[str, str]) -> None:
    """Bytes that no client library sends, as an attacker does: the HTTP server refuses them, or we do."""
    sent = {"Host": f"127.0.0.1:{run.server.port}", "Connection": "close"}
    sent |= {name.title(): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    with socket.create_connection(("127.0.0.1", run.server.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    assert answer.status >= 400, f"{answer.status} {body[:300]!r}"
    assert answer.getheader("Set-Cookie") is None
    if (answer.getheader("Content-Type") or "").startswith("application/json"):
        # It came through. The HTTP server may have taken the fault out of it; then it was sent by nobody.
        assert json.loads(body)["code"] in (run.row.code, "no_credentials"), body


def metadata(run: Run) -> list[requests.Response]:
    """Both at once: where the provider hangs, each of them waits for as long as anybody is made to wait."""
    with ThreadPoolExecutor(1) as pool:
        login = pool.submit(run.browser.open, run.server.url + "/oidc/login?next=/&go=1")
        answers = [*bearer(run), login.result()]
    # Whatever such a document points to may be anybody's.
    assert set(run.issuer.asked) <= {"metadata"}, f"the provider was asked for {run.issuer.asked}"
    return answers


def login(run: Run) -> list[requests.Response]:
    """A whole login, which ends with what this row makes of the token endpoint's answer."""
    run.begin_login()
    return _end(run, token.id_token_claims(run.names))


def userinfo(run: Run) -> list[requests.Response]:
    """The same with an ID token that does not say who it is, so that the provider has to be asked."""
    run.begin_login()
    good = {"email": run.names["user"], "email_verified": True, "groups": ["MLFLOW"]}
    good |= {"sub": run.names["subject"]}
    document = {name: value for name, value in good.items() if name not in run.row.drop_userinfo}
    run.issuer.answers["userinfo"] = Answer.json({**document, **evaluate(run.row.userinfo, run.names)})
    script.replace(run.row, run.issuer, "userinfo", run.names)
    answers = _end(run, token.bare_id_token_claims(run.names))
    assert run.issuer.asked.count("userinfo") == 1, f"asked: {run.issuer.asked}"
    return answers


def refresh(run: Run) -> list[requests.Response]:
    """Somebody is signed in, and the provider is asked about them again."""
    document = {"sub": run.names["subject"], "groups": ["MLFLOW"]}
    document = {name: value for name, value in document.items() if name not in run.row.drop_userinfo}
    run.issuer.answers["userinfo"] = Answer.json({**document, **evaluate(run.row.userinfo, run.names)})
    _script_tokens(run, token.refreshed_id_token_claims(run.names))
    return _send(run, {"cookie": run.names["cookie"]})


def _end(run: Run, claims: tokens.Json) -> list[requests.Response]:
    _script_tokens(run, claims)
    return [run.come_back()]


def _script_tokens(run: Run, claims: tokens.Json) -> None:
    run.hand_out(token.spoilt(run.row, run.names, claims))
    document = {name: value for name, value in run.tokens.items() if name not in run.row.drop_token_answer}
    run.issuer.answers["token"] = Answer.json({**document, **evaluate(run.row.token_answer, run.names)})
    script.replace(run.row, run.issuer, "token", run.names, run.tokens)


def callback(run: Run) -> list[requests.Response]:
    run.begin_login()
    run.hand_out_good()
    query = evaluate(run.row.query, run.names)
    if run.row.http_server:
        raw(run, "GET", f"/oidc/callback?{query}", {"Cookie": run.names["cookie"]})
        return []
    return [run.come_back(query)]


def logout_token(run: Run) -> list[requests.Response]:
    claims = token.logout_token_claims(run.names)
    spoilt = run.keep_secret(token.spoilt(run.row, run.names, claims, typ="logout+jwt"))
    return [run.server.call("POST", "/oidc/backchannel-logout", data={"logout_token": spoilt})]


def cookie(run: Run) -> list[requests.Response]:
    value = token.finished(run.names["cookie_value"], run.row.cookie_finish, run.names)
    name = run.names["cookie"].partition("=")[0]
    sent = evaluate(run.row.cookie, {**run.names, "cookie": f"{name}={value}", "cookie_value": value})
    return _send(run, {"cookie": sent})


def request(run: Run) -> list[requests.Response]:
    return _send(run, {})


def _send(run: Run, more: dict[str, str]) -> list[requests.Response]:
    told: dict[str, Any] = {"method": "GET", "path": EXPERIMENTS, "headers": {}, "body": None}
    assert not set(run.row.request) - set(told), f"only {sorted(told)} may be in a request"
    told |= evaluate(run.row.request, run.names)
    method, path, headers, body = told.values()
    headers = {**headers, **more}
    if run.row.http_server:
        raw(run, method, path, headers)
        return []
    sent = {name: value.encode() for name, value in headers.items()}
    return [run.server.call(method, path, headers=sent, data=body.encode() if body is not None else None)]


def next_page(run: Run) -> list[requests.Response]:
    query = urlencode({"next": evaluate(run.row.next, run.names)}, errors="surrogatepass")
    return [run.browser.open(f"{run.server.url}/oidc/login?{query}")]


PLACES: dict[str, Callable[[Run], list[requests.Response]]] = {
    "bearer": bearer,
    "id_token": login,
    "token_answer": login,
    "refresh": refresh,
    "userinfo": userinfo,
    "logout_token": logout_token,
    "keys": bearer,
    "metadata": metadata,
    "callback": callback,
    "cookie": cookie,
    "next": next_page,
    "request": request,
}
