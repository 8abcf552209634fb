"""What mlflow-oidc is measured beside: each could be the `authorization_function` of `basic_auth.ini`."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt
from flask import Response, request
from mlflow.server.auth import store
from werkzeug.datastructures import Authorization

from keys import ALGORITHMS, CLIENT_ID, GROUP

Answer = Authorization | Response
Function = Callable[[], Answer]


def constant(name: str) -> Function:
    """The cheapest function there can be: an object that is there already."""
    answer = Authorization("basic", {"username": name})

    def authenticate_request() -> Answer:
        return answer

    return authenticate_request


def prototype(native: Any) -> Function:
    """The bare Rust of benches/prototype: two headers go in, the answer comes out."""

    def authenticate_request() -> Answer:
        header = request.environ.get
        answer: Answer = native.authenticate(header("HTTP_AUTHORIZATION"), header("HTTP_COOKIE"))
        return answer

    return authenticate_request


def _fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


class CarefulPython:
    """What a careful engineer writes with PyJWT: keys remembered, every check, no password hashed.

    With `remembers` a token that was good is remembered by its SHA-256 until it expires.
    """

    KEYS_FOR = 300.0
    COOLDOWN = 10.0
    REMEMBERED = 20_000

    def __init__(self, issuer: str, remembers: bool) -> None:
        self._issuer = issuer
        self._key_set = _fetched(f"{issuer}/.well-known/openid-configuration")["jwks_uri"]
        self._keys: dict[str, Any] = {}
        self._fetched_at = -self.KEYS_FOR
        self._known: set[str] = set()
        self._remembers = remembers
        self._tokens: dict[bytes, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def authenticate_request(self) -> Answer:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return self._refused()
        if not self._remembers:
            name, _ = self._verified(token)
            return Authorization("basic", {"username": name}) if name else self._refused()
        digest = hashlib.sha256(token.encode()).digest()
        found = self._tokens.get(digest)
        if found is not None and found[0] > time.time():
            return Authorization("basic", {"username": found[1]})
        name, expires = self._verified(token)
        if name is None:
            return self._refused()
        with self._lock:
            if len(self._tokens) >= self.REMEMBERED:
                self._tokens.clear()
            self._tokens[digest] = (expires, name)
        return Authorization("basic", {"username": name})

    def _verified(self, token: str) -> tuple[str | None, float]:
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(header.get("kid", ""))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=CLIENT_ID,
                issuer=self._issuer,
                leeway=60,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError):
            return None, 0
        name = claims.get("email")
        if not name or not claims.get("email_verified") or GROUP not in claims.get("groups", ()):
            return None, 0
        if name not in self._known:
            if not store.has_user(name):
                store.create_user(name, hashlib.sha256(token.encode()).hexdigest())
            self._known.add(name)
        return name, claims["exp"] + 60

    def _key(self, kid: str) -> Any:
        age = time.monotonic() - self._fetched_at
        if age > self.KEYS_FOR or (kid not in self._keys and age > self.COOLDOWN):
            with self._lock:
                self._fetched_at = time.monotonic()
                found = jwt.PyJWKSet.from_dict(_fetched(self._key_set)).keys
                self._keys = {key.key_id: key for key in found if key.key_id}
        return self._keys[kid]

    def _refused(self) -> Response:
        body = json.dumps({"error_code": "UNAUTHENTICATED", "message": "Sign in first."})
        headers = {"WWW-Authenticate": "Bearer"}
        return Response(body, status=401, headers=headers, mimetype="application/json")


class Original:
    """The function that this project started from, rebuilt from its description; it was read, not run.

    The token is decoded, and then the user is created or updated with a password, which is the user name: a
    scrypt hash in every request. Its mistakes (HS256 beside RS256, no issuer) cost nothing and are left out.
    """

    def __init__(self, issuer: str) -> None:
        found = _fetched(f"{issuer}/.well-known/openid-configuration")
        keys = jwt.PyJWKSet.from_dict(_fetched(found["jwks_uri"])).keys
        self._keys = {key.key_id: key for key in keys if key.key_id}

    def authenticate_request(self) -> Answer:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, algorithms=["RS256"], audience=CLIENT_ID)
        except (jwt.PyJWTError, KeyError):
            return Response("Unauthorized", status=401)
        name = claims["email"]
        is_admin = f"{GROUP}_admin" in claims["groups"]
        if store.has_user(name):
            store.update_user(name, password=name, is_admin=is_admin)
        else:
            store.create_user(name, password=name, is_admin=is_admin)
        return Authorization("basic", {"username": name})


def empty_response() -> Answer:
    """The least that an answer to nobody can be."""
    return Response(status=401)
