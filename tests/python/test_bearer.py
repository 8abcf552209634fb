"""A program with a JWT: in at once with a good one, and what is said to each kind of bad one."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import pytest

from support import tokens, wire
from support.browser import Browser
from support.provider import CLIENT_ID, Provider
from support.server import ADMIN, MlflowServer

Person = Callable[..., str]

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
NATIVE_TRACES = "/v1/traces"


def native_artifact(name: str) -> str:
    return f"/api/2.0/mlflow-artifacts/artifacts/0/{uuid.uuid4().hex}/artifacts/{name}"


def otlp_trace(experiment: str = "0") -> dict[str, object]:
    """What an OpenTelemetry exporter sends to /v1/traces, as JSON: one span."""
    now = time.time_ns()
    span = {
        "traceId": uuid.uuid4().hex,
        "spanId": uuid.uuid4().hex[:16],
        "name": "a span",
        "kind": 1,
        "startTimeUnixNano": str(now - 1_000_000),
        "endTimeUnixNano": str(now),
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    return {"json": body, "headers": {"x-mlflow-experiment-id": experiment}}


def test_a_real_token_works_at_once(server: MlflowServer, provider: Provider, person: Person) -> None:
    """No browser login came before: the first sight of a person may be a program."""
    alice = person("alice")
    token = provider.id_token(alice)
    answer = server.call("GET", EXPERIMENTS, token=token)
    assert answer.status_code == 200, answer.text
    row = server.user(f"{alice}@example.org")
    assert row is not None
    assert row[0] is False
    assert row[1].startswith("oidc")
    assert "$" not in row[1]
    identities = "SELECT username FROM oidc_identities WHERE issuer = ? AND subject = ?"
    found = server.rows(identities, provider.issuer, alice, database="basic_auth.db-oidc")
    assert found == [(f"{alice}@example.org",)]


def test_what_is_made_belongs_to_who_made_it(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    alice, bob = person("alice"), person("bob")
    token, name = provider.bearer(alice), f"of-{alice}"
    made = server.call("POST", "/api/2.0/mlflow/experiments/create", token=token, json={"name": name})
    assert made.status_code == 200, made.text
    experiment = made.json()["experiment_id"]
    change = {"experiment_id": experiment, "new_name": f"new-{name}"}
    path = "/api/2.0/mlflow/experiments/update"
    assert server.call("POST", path, token=provider.bearer(bob), json=change).status_code == 403
    assert server.call("POST", path, token=token, json=change).status_code == 200


def test_the_admin_group_makes_an_administrator_and_unmakes_one(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    ada = person("ada")
    path = f"/api/2.0/mlflow/users/get?username={ADMIN[0]}"
    as_admin = provider.bearer(ada, groups=["MLFLOW_admin"])
    assert server.call("GET", path, token=as_admin).status_code == 200
    assert server.is_admin(f"{ada}@example.org") is True
    assert server.call("GET", path, token=provider.bearer(ada, groups=["MLFLOW"])).status_code == 403
    assert server.is_admin(f"{ada}@example.org") is False
    without = provider.bearer(ada, groups=None)
    assert server.call("GET", EXPERIMENTS, token=without).status_code == 403
    assert server.is_admin(f"{ada}@example.org") is False


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_no_case(
    server: MlflowServer, provider: Provider, person: Person, scheme: str
) -> None:
    header = {"Authorization": f"{scheme} {provider.bearer(person('alice'))}"}
    assert server.call("GET", EXPERIMENTS, headers=header).status_code == 200


GOOD: dict[str, Callable[[Provider, str], str]] = {
    "audience of our own API": lambda p, s: p.bearer(s, audience="mlflow-api"),
    "several audiences": lambda p, s: p.bearer(s, audience=["account", "mlflow-api"]),
    "typ at+jwt": lambda p, s: p.key.token(_claims(p, s), typ="at+jwt"),
    "typ JWT": lambda p, s: p.key.token(_claims(p, s), typ="JWT"),
    "no kid, and only one key fits": lambda p, s: p.key.token(_claims(p, s), kid=None),
    "within the clock's tolerance after its end": lambda p, s: p.bearer(s, exp=_in(-20)),
    "within the clock's tolerance before its start": lambda p, s: p.bearer(s, nbf=_in(20), iat=_in(20)),
    "groups as Keycloak's paths": lambda p, s: p.bearer(s, groups=["/MLFLOW"]),
    "two hundred groups": lambda p, s: p.bearer(s, groups=[f"g-{i:04}" for i in range(200)] + ["MLFLOW"]),
    "a claim in another alphabet": lambda p, s: p.bearer(s, name="Łukasz 日本"),
}


def _claims(provider: Provider, subject: str, **changes: object) -> tokens.Json:
    return tokens.bearer_claims(provider.issuer, subject, CLIENT_ID, **changes)


def _in(seconds: int) -> int:
    return int(time.time()) + seconds


@pytest.mark.parametrize("name", GOOD)
def test_a_good_token(server: MlflowServer, provider: Provider, person: Person, name: str) -> None:
    answer = server.call("GET", EXPERIMENTS, token=GOOD[name](provider, person("alice")))
    assert answer.status_code == 200, answer.text


OTHER_RSA = tokens.Key.rsa()


def _tampered(token: str) -> str:
    """Another subject's claims under a signature that was made for this one's."""
    header, body, signature = token.split(".")
    claims = json.loads(tokens.decode_base64(body))
    claims["groups"] = ["MLFLOW_admin"]
    return tokens.remember(".".join((header, tokens.encode_base64(json.dumps(claims).encode()), signature)))


def _by_hmac(provider: Provider, subject: str) -> str:
    header = {"alg": "HS256", "kid": provider.key.kid}
    return tokens.encode(header, _claims(provider, subject), tokens.hmac_signer(provider.key.public_pem()))


# A sample of every kind, for more versions, workers and routes than the table of refusals is tried on.
BAD: dict[str, tuple[Callable[[Provider, str], str], int, str]] = {
    "expired": (lambda p, s: p.bearer(s, exp=_in(-120), iat=_in(-400)), 401, "token_expired"),
    "another client's": (lambda p, s: p.id_token(s, audience="another"), 401, "token_audience"),
    "other key under the known id": (
        lambda p, s: OTHER_RSA.token(_claims(p, s), kid=p.key.kid),
        401,
        "token_signature",
    ),
    "HMAC with the public key": (_by_hmac, 401, "token_algorithm"),
    "changed after signing": (lambda p, s: _tampered(p.bearer(s)), 401, "token_signature"),
    "no member": (lambda p, s: p.bearer(s, groups=["OTHER"]), 403, "group_required"),
    "an administrator's name": (lambda p, s: p.bearer(s, email=ADMIN[0]), 403, "account_protected"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token(server: MlflowServer, provider: Provider, person: Person, name: str) -> None:
    make, status, code = BAD[name]
    subject = person("mallory")
    token = make(provider, subject)
    paths = [("GET", EXPERIMENTS), ("POST", "/api/2.0/mlflow/experiments/create")]
    if server.modern:
        paths += [("POST", NATIVE_TRACES), ("PUT", native_artifact("x")), ("GET", native_artifact("x"))]
    for method, path in paths:
        answer = server.call_native(method, path, token=token)
        wire.refusal(answer, status, code)
        if status == 401:
            (challenge,) = wire.every(answer, "WWW-Authenticate")
            assert 'error="invalid_token"' in challenge
            assert "error_description=" in challenge
        assert wire.set_cookie(answer) is None
    assert server.user(f"{subject}@example.org") is None
    query = "SELECT count(*) FROM oidc_identities WHERE subject = ?"
    if (server.folder / "basic_auth.db-oidc").exists():
        assert server.rows(query, subject, database="basic_auth.db-oidc") == [(0,)]


@pytest.mark.parametrize(
    ("header", "codes"),
    [
        ("Bearer", ("token_malformed", "no_credentials", "authorization_scheme")),
        ("Bearer ", ("token_malformed", "no_credentials", "authorization_scheme")),
        ("Bearer a b", ("token_malformed", "authorization_scheme")),
        ("Digest username=x", ("authorization_scheme",)),
        ("Negotiate YII=", ("authorization_scheme",)),
        ("token", ("authorization_scheme", "no_credentials")),
        ("Bearer: x", ("authorization_scheme", "token_malformed")),
    ],
)
def test_other_headers(server: MlflowServer, header: str, codes: tuple[str, ...]) -> None:
    wire.refusal(server.call("GET", EXPERIMENTS, headers={"Authorization": header}), 401, *codes)


def test_no_repeated_header_lets_a_bad_token_in(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    """Python's WSGI joins repeated headers by a comma; what comes out is nobody's token."""
    good = provider.bearer(person("alice"))
    for header in (f"Bearer {good}, Bearer x", f"Bearer x, Bearer {good}", f"Bearer {good},"):
        wire.refusal(server.call("GET", EXPERIMENTS, headers={"Authorization": header}), 401)


def test_a_bearer_gains_no_session(server: MlflowServer, provider: Provider, person: Person) -> None:
    token = provider.bearer(person("alice"))
    for path in ("/", EXPERIMENTS, "/oidc/session", "/oidc/login?next=/"):
        answer = server.call("GET", path, token=token, headers=wire.NAVIGATION)
        assert wire.set_cookie(answer) is None, path


def test_nothing_of_a_browsers_login_is_a_bearer(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    """The ID token that ended a login says who came, to us; it is no key that others may hold.

    One of the same client that a program got for itself, with a nonce of its own, is.
    """
    alice = person("alice")
    Browser(server).login(provider, alice)
    issued = provider.issued[-1]
    assert tokens.claims_of(issued["id_token"])["sub"] == alice
    wire.refusal(server.call("GET", EXPERIMENTS, token=issued["id_token"]), 401, "token_type")
    wire.refusal(server.call("GET", EXPERIMENTS, token=issued["access_token"]), 401, "token_malformed")
    own = provider.bearer(alice, nonce=uuid.uuid4().hex)
    assert server.call("GET", EXPERIMENTS, token=own).status_code == 200


def test_the_header_for_the_gateway_opens_nothing_else(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    header = {"X-MLflow-Authorization": f"Bearer {provider.bearer(person('alice'))}"}
    wire.refusal(server.call("GET", EXPERIMENTS, headers=header), 401)


def test_traces_on_the_native_route(server: MlflowServer, provider: Provider, person: Person) -> None:
    token = provider.bearer(person("alice"))
    if not server.modern:
        # There the route does not exist, and being somebody does not make it.
        assert server.call("POST", NATIVE_TRACES, token=token, **otlp_trace()).status_code == 404
        return
    admin = provider.bearer(person("ada"), groups=["MLFLOW_admin"])
    sent = server.call_native("POST", NATIVE_TRACES, token=admin, **otlp_trace())
    assert sent.status_code == 200, sent.text
    # MLflow's own permissions decide then: a reader of the default experiment may not write to it.
    refused = server.call_native("POST", NATIVE_TRACES, token=token, **otlp_trace())
    assert refused.status_code == 403, refused.text
    own = server.call("POST", "/api/2.0/mlflow/experiments/create", token=token, json={"name": token[-20:]})
    sent = server.call_native("POST", NATIVE_TRACES, token=token, **otlp_trace(own.json()["experiment_id"]))
    assert sent.status_code == 200, sent.text


def test_artifacts_up_and_down(server: MlflowServer, provider: Provider, person: Person) -> None:
    token = provider.bearer(person("alice"))
    made = server.call(
        "POST", "/api/2.0/mlflow/experiments/create", token=token, json={"name": uuid.uuid4().hex}
    )
    experiment = made.json()["experiment_id"]
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{uuid.uuid4().hex}/artifacts/a.bin"
    content = bytes(range(256)) * 1000
    up = server.call_native("PUT", path, token=token, data=content)
    assert up.status_code == 200, up.text
    down = server.call_native("GET", path, token=token)
    assert down.status_code == 200, down.text[:200]
    assert down.content == content
    wire.refusal(server.call("GET", path), 401)
    wire.refusal(server.call("PUT", path, data=b"overwritten"), 401)
    assert server.call_native("GET", path, token=token).content == content


def test_a_token_seen_before_is_still_judged(
    server: MlflowServer, provider: Provider, person: Person
) -> None:
    """What is remembered of a token is that it was good, not who may come after it."""
    token = provider.bearer(person("alice"))
    for _ in range(3):
        assert server.call("GET", EXPERIMENTS, token=token).status_code == 200
        wire.refusal(server.call("GET", EXPERIMENTS, token=token[:-4] + "AAAA"), 401)
        wire.refusal(server.call("GET", EXPERIMENTS, token=token + "A"), 401)
