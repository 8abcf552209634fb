"""A program with a JWT: in at once with a good one, and what is said to each kind of bad one."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import pytest

from support import tokens, wire
from support.browser import Browser
from support.provider import CLIENT_ID, CLIENT_SECRET, Provider
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
OTHER_EC = tokens.Key.ec()
OTHER_ED = tokens.Key.ed25519()


def _tampered(token: str) -> str:
    """Another subject's claims under a signature that was made for this one's."""
    header, body, signature = token.split(".")
    claims = json.loads(tokens.decode_base64(body))
    claims["groups"] = ["MLFLOW_admin"]
    return tokens.remember(".".join((header, tokens.encode_base64(json.dumps(claims).encode()), signature)))


def _with(provider: Provider, subject: str, algorithm: str, sign: tokens.Sign) -> str:
    header = {"alg": algorithm, "kid": provider.key.kid}
    return tokens.encode(header, _claims(provider, subject), sign)


def _twice(provider: Provider, subject: str, member: str, value: object) -> str:
    """Claims in which one member stands twice: two readers may believe two different things."""
    text = json.dumps(_claims(provider, subject))
    body = text[:-1] + f", {json.dumps(member)}: {json.dumps(value)}}}"
    return provider.key.token(body.encode())


# One row for each bad token: how it is made, the status, and the codes that name the reason.
BAD: dict[str, tuple[Callable[[Provider, str], str], int, tuple[str, ...]]] = {
    "expired": (lambda p, s: p.bearer(s, exp=_in(-120), iat=_in(-400)), 401, ("token_expired",)),
    "without an end": (lambda p, s: p.bearer(s, exp=None), 401, ("token_expired", "token_claim")),
    "end as a string": (lambda p, s: p.bearer(s, exp=str(_in(300))), 401, ("token_claim", "token_expired")),
    "absurd end": (lambda p, s: p.bearer(s, exp=10**30), 401, ("token_claim", "token_expired")),
    "end before the epoch": (lambda p, s: p.bearer(s, exp=-1), 401, ("token_claim", "token_expired")),
    "not yet": (lambda p, s: p.bearer(s, nbf=_in(300)), 401, ("token_not_yet_valid",)),
    "issued in the future": (
        lambda p, s: p.bearer(s, iat=_in(3600), exp=_in(7200)),
        401,
        ("token_issued_at",),
    ),
    "wrong audience": (lambda p, s: p.bearer(s, audience="another"), 401, ("token_audience",)),
    "audience only begins alike": (lambda p, s: p.bearer(s, audience="mlflow-"), 401, ("token_audience",)),
    "no audience": (lambda p, s: p.bearer(s, audience=None), 401, ("token_audience",)),
    "empty audience": (lambda p, s: p.bearer(s, audience=[]), 401, ("token_audience",)),
    "audience is a number": (lambda p, s: p.bearer(s, audience=1), 401, ("token_audience", "token_claim")),
    "another client's": (lambda p, s: p.id_token(s, audience="another"), 401, ("token_audience",)),
    "wrong issuer": (lambda p, s: p.bearer(s, iss="https://evil.example"), 401, ("token_issuer",)),
    "issuer with a slash": (lambda p, s: p.bearer(s, iss=p.issuer + "/"), 401, ("token_issuer",)),
    "no issuer": (lambda p, s: p.bearer(s, iss=None), 401, ("token_issuer", "token_claim")),
    "no subject": (lambda p, s: p.bearer(s, sub=None), 401, ("token_subject", "token_claim")),
    "empty subject": (lambda p, s: p.bearer(s, sub=""), 401, ("token_subject", "token_claim")),
    "subject is a number": (lambda p, s: p.bearer(s, sub=7), 401, ("token_subject", "token_claim")),
    "other key, its own id": (
        lambda p, s: OTHER_RSA.token(_claims(p, s)),
        401,
        ("token_key_unknown", "token_signature"),
    ),
    "other key under the known id": (
        lambda p, s: OTHER_RSA.token(_claims(p, s), kid=p.key.kid),
        401,
        ("token_signature",),
    ),
    "other key and no id": (lambda p, s: OTHER_RSA.token(_claims(p, s), kid=None), 401, ("token_signature",)),
    "key in the header": (
        lambda p, s: OTHER_RSA.token(_claims(p, s), jwk=OTHER_RSA.public_jwk()),
        401,
        ("token_header", "token_key_unknown", "token_signature"),
    ),
    "key at an address in the header": (
        lambda p, s: OTHER_RSA.token(_claims(p, s), jku="http://127.0.0.1:9/jwks", kid=p.key.kid),
        401,
        ("token_header", "token_signature"),
    ),
    "HMAC with the public key": (
        lambda p, s: _with(p, s, "HS256", tokens.hmac_signer(p.key.public_pem())),
        401,
        ("token_algorithm",),
    ),
    "HMAC with the client's secret": (
        lambda p, s: _with(p, s, "HS256", tokens.hmac_signer(CLIENT_SECRET.encode())),
        401,
        ("token_algorithm",),
    ),
    "HMAC 512": (
        lambda p, s: _with(p, s, "HS512", tokens.hmac_signer(CLIENT_SECRET.encode(), "HS512")),
        401,
        ("token_algorithm",),
    ),
    "none": (lambda p, s: _with(p, s, "none", tokens.unsigned), 401, ("token_algorithm", "token_malformed")),
    "nOnE": (lambda p, s: _with(p, s, "nOnE", tokens.unsigned), 401, ("token_algorithm", "token_malformed")),
    "no algorithm": (
        lambda p, s: p.key.token(_claims(p, s), alg=None),
        401,
        ("token_algorithm", "token_header", "token_malformed"),
    ),
    "an algorithm that the provider has not": (
        lambda p, s: p.key.token(_claims(p, s), "PS256"),
        401,
        ("token_algorithm",),
    ),
    "elliptic": (
        lambda p, s: OTHER_EC.token(_claims(p, s), "ES256", kid=p.key.kid),
        401,
        ("token_algorithm", "token_key_unknown", "token_signature"),
    ),
    "EdDSA": (
        lambda p, s: OTHER_ED.token(_claims(p, s), "EdDSA", kid=p.key.kid),
        401,
        ("token_algorithm", "token_key_unknown", "token_signature"),
    ),
    "signed as RS512, said RS256": (
        lambda p, s: _with(p, s, "RS256", p.key.signer("RS512")),
        401,
        ("token_signature",),
    ),
    "changed after signing": (lambda p, s: _tampered(p.bearer(s)), 401, ("token_signature",)),
    "signature cut": (lambda p, s: p.bearer(s)[:-8], 401, ("token_signature", "token_malformed")),
    "signature missing": (
        lambda p, s: p.bearer(s).rpartition(".")[0] + ".",
        401,
        ("token_signature", "token_malformed"),
    ),
    "two parts": (lambda p, s: p.bearer(s).rpartition(".")[0], 401, ("token_malformed",)),
    "four parts": (lambda p, s: p.bearer(s) + ".x", 401, ("token_malformed",)),
    "encrypted": (lambda p, s: p.bearer(s) + ".x.y", 401, ("token_encrypted", "token_malformed")),
    "opaque": (lambda p, s: "opaque-access-token", 401, ("token_malformed",)),
    "padding": (lambda p, s: p.bearer(s) + "=", 401, ("token_malformed", "token_signature")),
    "crit": (
        lambda p, s: p.key.token(_claims(p, s), crit=["exp"], exp=1),
        401,
        ("token_header", "token_malformed"),
    ),
    "b64 false": (
        lambda p, s: p.key.token(_claims(p, s), crit=["b64"], b64=False),
        401,
        ("token_header", "token_malformed"),
    ),
    "a logout token": (lambda p, s: p.key.token(_claims(p, s), typ="logout+jwt"), 401, ("token_type",)),
    "a logout token by its claims": (
        lambda p, s: p.bearer(s, events={"http://schemas.openid.net/event/backchannel-logout": {}}),
        401,
        ("token_type", "token_claim"),
    ),
    "a subject twice": (lambda p, s: _twice(p, s, "sub", "admin"), 401, ("token_malformed", "token_claim")),
    "an end twice": (lambda p, s: _twice(p, s, "exp", _in(9000)), 401, ("token_malformed", "token_claim")),
    "claims are a list": (lambda p, s: p.key.token(b"[]"), 401, ("token_malformed", "token_claim")),
    "claims are no JSON": (lambda p, s: p.key.token(b"{"), 401, ("token_malformed", "token_claim")),
    "claims are no UTF-8": (lambda p, s: p.key.token(b'{"sub": "\xff"}'), 401, ("token_malformed",)),
    "no user name": (lambda p, s: p.bearer(s, email=None), 403, ("username_missing",)),
    "user name is a number": (
        lambda p, s: p.bearer(s, email=7),
        403,
        ("username_missing", "username_invalid"),
    ),
    "no member": (lambda p, s: p.bearer(s, groups=["OTHER"]), 403, ("group_required",)),
    "no groups claim": (lambda p, s: p.bearer(s, groups=None), 403, ("groups_missing",)),
    "an administrator's name": (lambda p, s: p.bearer(s, email=ADMIN[0]), 403, ("account_protected",)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token(server: MlflowServer, provider: Provider, person: Person, name: str) -> None:
    make, status, codes = BAD[name]
    subject = person("mallory")
    token = make(provider, subject)
    paths = [("GET", EXPERIMENTS), ("POST", "/api/2.0/mlflow/experiments/create")]
    if server.modern:
        paths += [("POST", NATIVE_TRACES), ("PUT", native_artifact("x")), ("GET", native_artifact("x"))]
    for method, path in paths:
        answer = server.call_native(method, path, token=token)
        wire.refusal(answer, status, *codes)
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
