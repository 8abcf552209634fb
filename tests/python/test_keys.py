"""The provider's keys over HTTP: new ones are seen at once, removed ones end, forged names cost nothing."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from support import tokens, wire
from support.engines import Engines
from support.provider import CLIENT_ID
from support.scripted import Answer, ScriptedProvider
from support.server import MakeServer, MlflowServer, settings_for

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
DISCOVERY = "/.well-known/openid-configuration"
# Seconds between two fetches that unknown keys may cause.
COOLDOWN = 5


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    """One for the whole file: the same name under another issuer would be somebody else."""
    running = ScriptedProvider().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def engines(version: str, make_module_server: MakeServer, provider: ScriptedProvider) -> Engines:
    return Engines(make_module_server, version, provider.issuer)


@pytest.fixture
def scripted(provider: ScriptedProvider) -> ScriptedProvider:
    """As good as new, and nobody has asked it yet."""
    provider.answers.clear()
    provider.seen.clear()
    return provider


@pytest.fixture
def server(engines: Engines, scripted: ScriptedProvider) -> MlflowServer:
    """With an engine that has seen nothing yet."""
    engines.fresh(settings_for(scripted.issuer))
    return engines.server


def publish(scripted: ScriptedProvider, *keys: Any) -> None:
    """Keys of ours, or members of a key set as they are."""
    members = [key.public_jwk() if isinstance(key, tokens.Key) else key for key in keys]
    scripted.answers["/jwks"] = Answer(body={"keys": members})


def signed(scripted: ScriptedProvider, key: tokens.Key, algorithm: str = "RS256", **header: Any) -> str:
    claims = tokens.bearer_claims(scripted.issuer, "alice", CLIENT_ID)
    return key.token(claims, algorithm, **header)


def ask(server: MlflowServer, token: str) -> requests.Response:
    return server.call("GET", EXPERIMENTS, token=token)


def is_in(answer: requests.Response) -> None:
    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"


def test_twenty_first_requests_cost_one_fetch(server: MlflowServer, scripted: ScriptedProvider) -> None:
    with ThreadPoolExecutor(20) as pool:
        for answer in pool.map(lambda _: ask(server, scripted.id_token()), range(20)):
            is_in(answer)
    assert scripted.count(DISCOVERY) == 1
    assert scripted.count("/jwks") == 1


def test_what_no_key_could_make_good_asks_nobody(server: MlflowServer, scripted: ScriptedProvider) -> None:
    is_in(ask(server, scripted.id_token()))
    before = len(scripted.seen)
    for changes in ({"exp": 1}, {"aud": "another"}, {"iss": "https://evil.example"}):
        claims = tokens.bearer_claims(scripted.issuer, "alice", CLIENT_ID, **changes)
        wire.refusal(ask(server, tokens.Key.rsa().token(claims)), 401)
    assert len(scripted.seen) == before


def test_a_rotation_fails_no_request(server: MlflowServer, scripted: ScriptedProvider) -> None:
    """The first token of a new key is good at once, and costs one fetch; the old key still is good, too."""
    old = scripted.key
    is_in(ask(server, signed(scripted, old)))
    for step in (1, 2, 3):
        new = tokens.Key.rsa()
        publish(scripted, new, old)
        is_in(ask(server, signed(scripted, new)))
        is_in(ask(server, signed(scripted, old)))
        assert scripted.count("/jwks") == 1 + step
        old = new
    assert scripted.count(DISCOVERY) == 1


def test_a_rotation_on_the_event_loop_takes_a_second(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    """Nothing is waited for there; MLflow's client comes again by itself, as is done here."""
    path = "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/missing"
    assert server.call_native("GET", path, token=scripted.id_token()).status_code in (404, 500)
    new = tokens.Key.rsa()
    publish(scripted, new, scripted.key)
    started = time.monotonic()
    assert server.call_native("GET", path, token=signed(scripted, new)).status_code in (404, 500)
    assert time.monotonic() - started < 3
    assert scripted.count("/jwks") == 2


def test_a_key_that_nobody_has_is_found_out(server: MlflowServer, scripted: ScriptedProvider) -> None:
    """At the first request: the provider was asked and says no. It is not asked again for a while."""
    is_in(ask(server, scripted.id_token()))
    forged = signed(scripted, tokens.Key.rsa())
    started = time.monotonic()
    while time.monotonic() - started < COOLDOWN - 2:
        wire.refusal(ask(server, forged), 401, "token_key_unknown")
        time.sleep(0.2)
    assert scripted.count("/jwks") == 2


def forged_name(scripted: ScriptedProvider) -> str:
    header = {"alg": "RS256", "kid": uuid.uuid4().hex}
    claims = tokens.bearer_claims(scripted.issuer, "mallory", CLIENT_ID)
    return tokens.encode(header, claims, lambda _: b"\x01" * 256)


def test_a_thousand_forged_names_cost_a_handful_of_fetches(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    """And keep nobody out: neither those whose key is known, nor who comes with one that is really new."""
    is_in(ask(server, scripted.id_token()))
    remembered, new = scripted.id_token(), tokens.Key.rsa()
    is_in(ask(server, remembered))
    forged = [forged_name(scripted) for _ in range(1000)]
    sent, over = 0, threading.Event()

    def flood(part: list[str]) -> None:
        """Its part of the thousand, and then on and on until the new key is in."""
        nonlocal sent
        for token in part:
            answer = ask(server, token)
            assert answer.status_code in (401, 503), answer.text
            wire.refusal(answer, answer.status_code, "token_key_unknown", "provider_pending", "provider_busy")
            sent += 1
        while not over.is_set():
            ask(server, forged_name(scripted))

    def honest() -> int:
        count = 0
        while not over.is_set():
            is_in(ask(server, remembered))
            is_in(ask(server, scripted.id_token()))
            count += 2
        return count

    with ThreadPoolExecutor(10) as pool:
        started = time.monotonic()
        flooding = [pool.submit(flood, forged[n::8]) for n in range(8)]
        good = pool.submit(honest)
        try:
            while sent < 100:
                time.sleep(0.01)
            publish(scripted, new, scripted.key)
            came = come_again(server, signed(scripted, new))
            while sent < len(forged) and not any(each.done() for each in flooding):
                time.sleep(0.05)
        finally:
            over.set()
        for each in flooding:
            each.result()
        assert good.result() > 20
    seconds = time.monotonic() - started
    assert came < COOLDOWN + 3, f"the new key was kept out for {came:.1f} s"
    # One that the first of them causes, one in each cooldown, and one more after the rotation that was found.
    # The cooldown is counted on a clock of whole seconds, so that it may be over up to a second earlier.
    assert scripted.count("/jwks") - 1 <= 2 + (seconds + 1) / COOLDOWN, f"in {seconds:.1f} s"
    assert scripted.count(DISCOVERY) == 1


def come_again(server: MlflowServer, token: str) -> float:
    """What MLflow's client does: 503 is waited out, and nothing else would be tried again."""
    started = time.monotonic()
    while (answer := ask(server, token)).status_code == 503:
        time.sleep(int(answer.headers["Retry-After"]))
    is_in(answer)
    return time.monotonic() - started


SYMMETRIC = "c2VjcmV0LXRoYXQtaXMtbm90LWZvci1hLWxvZw"
UNUSABLE: dict[str, Callable[[], Any]] = {
    "no object": lambda: "key",
    "a symmetric key": lambda: {"kty": "oct", "k": SYMMETRIC, "kid": "oct"},
    "a short key": lambda: tokens.Key.rsa(bits=1024).public_jwk(),
    "a key for encryption": lambda: tokens.Key.rsa().public_jwk(use="enc"),
    "an unknown kind": lambda: {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "new"},
    "a broken number": lambda: tokens.Key.rsa().public_jwk(n="!!!"),
    "no number": lambda: {"kty": "RSA", "e": "AQAB", "kid": "half"},
    "a point that is on no curve": lambda: {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "ec"},
}


def test_keys_that_cannot_be_used_do_not_spoil_the_others(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    log_at = len(server.log_text())
    publish(scripted, *(make() for make in UNUSABLE.values()), scripted.key)
    is_in(ask(server, scripted.id_token()))
    log = server.log_text()[log_at:]
    assert "keys of the provider that cannot be used" in log
    assert all(f"key {index}: " in log for index in range(len(UNUSABLE))), log
    assert SYMMETRIC not in log


def test_a_token_without_a_key_id_is_good_where_one_key_fits(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    another = tokens.Key.rsa().public_jwk(alg="RS512")
    publish(scripted, another, scripted.key)
    is_in(ask(server, signed(scripted, scripted.key, kid=None)))


def test_a_token_without_a_key_id_is_refused_where_several_fit(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    """Trying one after the other would let whoever sends it choose."""
    publish(scripted, tokens.Key.rsa(), scripted.key)
    is_in(ask(server, scripted.id_token()))
    wire.refusal(ask(server, signed(scripted, scripted.key, kid=None)), 401, "token_key_unknown")


def test_a_removed_key_is_over_with_the_next_fetch(server: MlflowServer, scripted: ScriptedProvider) -> None:
    """Also for a token that is remembered. The fetch comes by itself; here the new key's token causes it."""
    old, new = scripted.key, tokens.Key.rsa()
    token = signed(scripted, old)
    for _ in range(2):
        is_in(ask(server, token))
    publish(scripted, new)
    is_in(ask(server, token))
    is_in(ask(server, signed(scripted, new)))
    for _ in range(2):
        wire.refusal(ask(server, token), 401, "token_key_unknown")
    wire.refusal(ask(server, signed(scripted, old)), 401, "token_key_unknown")
    is_in(ask(server, signed(scripted, new)))
    path = "/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/missing"
    wire.refusal(server.call_native("GET", path, token=token), 401, "token_key_unknown")


def test_a_key_that_was_replaced_under_its_name_is_over_too(
    server: MlflowServer, scripted: ScriptedProvider
) -> None:
    token = scripted.id_token()
    is_in(ask(server, token))
    replaced, new = tokens.Key.rsa(kid=scripted.key.kid), tokens.Key.rsa()
    publish(scripted, replaced, new)
    is_in(ask(server, signed(scripted, new)))
    wire.refusal(ask(server, token), 401, "token_signature")
    is_in(ask(server, signed(scripted, replaced)))
