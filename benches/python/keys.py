"""The provider's keys, in a folder so that every process signs with the same ones, and what they sign."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CLIENT_ID = "mlflow"
CLIENT_SECRET = "client-secret-of-the-bench"
# Who is known, whom MLflow gives a grant, and who is no administrator.
SUBJECT = "alice"
GROUP = "MLFLOW"
ALGORITHMS = ("RS256", "ES256", "EdDSA")
# Long enough for any run.
LIFETIME = 4 * 3600


def username(subject: str) -> str:
    return f"{subject}@example.org"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class Key:
    """A private key, the one algorithm that it signs with, and its id in the key set."""

    private: Any
    algorithm: str
    kid: str

    @cached_property
    def jwk(self) -> dict[str, str]:
        public = self.private.public_key()
        common = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        if self.algorithm == "RS256":
            numbers = public.public_numbers()
            return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        if self.algorithm == "ES256":
            numbers = public.public_numbers()
            return {
                **common,
                "kty": "EC",
                "crv": "P-256",
                "x": _number(numbers.x, 32),
                "y": _number(numbers.y, 32),
            }
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {**common, "kty": "OKP", "crv": "Ed25519", "x": encode(raw)}

    def sign(self, data: bytes) -> bytes:
        if self.algorithm == "RS256":
            return bytes(self.private.sign(data, padding.PKCS1v15(), hashes.SHA256()))
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return bytes(self.private.sign(data))

    def token(self, claims: Mapping[str, Any]) -> str:
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}
        signed = ".".join(
            encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)
        )
        return f"{signed}.{encode(self.sign(signed.encode()))}"


def generate(algorithm: str, kid: str) -> Key:
    if algorithm == "RS256":
        return Key(rsa.generate_private_key(public_exponent=65537, key_size=2048), algorithm, kid)
    if algorithm == "ES256":
        return Key(ec.generate_private_key(ec.SECP256R1()), algorithm, kid)
    return Key(ed25519.Ed25519PrivateKey.generate(), algorithm, kid)


def make(folder: Path) -> dict[str, Key]:
    """New keys, one for each algorithm, written to the folder."""
    folder.mkdir()
    made = {algorithm: generate(algorithm, f"bench-{algorithm}") for algorithm in ALGORITHMS}
    for algorithm, key in made.items():
        pem = key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / f"{algorithm}.pem").write_bytes(pem)
    return made


def load(folder: Path) -> dict[str, Key]:
    return {
        algorithm: Key(
            serialization.load_pem_private_key((folder / f"{algorithm}.pem").read_bytes(), None),
            algorithm,
            f"bench-{algorithm}",
        )
        for algorithm in ALGORITHMS
    }


def claims(issuer: str, subject: str = SUBJECT, **changes: Any) -> dict[str, Any]:
    """The claims of an access token as Keycloak makes them, with a `jti` of its own; 1.3 kB when signed."""
    now = int(time.time())
    return {
        "iss": issuer,
        "sub": subject,
        "aud": CLIENT_ID,
        "azp": CLIENT_ID,
        "iat": now,
        "exp": now + LIFETIME,
        "jti": uuid.uuid4().hex,
        "sid": "6f1f1a5e-4f4b-4b7e-9d3e-0c6a5d2b7f11",
        "acr": "1",
        "realm_access": {"roles": ["default-roles-company", "offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid email profile",
        "email_verified": True,
        "name": subject.title(),
        "preferred_username": subject,
        "email": username(subject),
        "groups": [GROUP, "engineering"],
        **changes,
    }


def tampered(token: str) -> str:
    """The same token with one bit of its signature changed."""
    signed, _, signature = token.rpartition(".")
    other = "B" if signature[40] == "A" else "A"
    return f"{signed}.{signature[:40]}{other}{signature[41:]}"
