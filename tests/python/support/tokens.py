"""Compact JWS of every kind, good and bad, signed with keys of the test's own or with the provider's.

Nothing here refuses anything: header, claims and signature go out exactly as the test wrote them, because the
tests are about what the product refuses. Every token made is kept in `MINTED`, so that the servers' logs and
databases can be searched for it afterwards.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Json = dict[str, Any]
Sign = Callable[[bytes], bytes]

MINTED: set[str] = set()

# Something that looks like a JWT, whoever made it.
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.")

_RSA_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def encode_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str) -> Json:
    """The claims of a token, unverified: the tests know who made it."""
    claims: Json = json.loads(decode_base64(token.split(".")[1]))
    return claims


def header_of(token: str) -> Json:
    """The header of a token, unverified."""
    header: Json = json.loads(decode_base64(token.split(".")[0]))
    return header


def remember(token: str) -> str:
    MINTED.add(token)
    return token


def encode(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, sign: Sign) -> str:
    """A compact JWS. Bytes are taken as they are, for JSON that no encoder would write."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(encode_base64(part) for part in parts)
    return remember(f"{signed}.{encode_base64(sign(signed.encode()))}")


@dataclass(frozen=True)
class Key:
    """A private key under a key id."""

    private: Any
    kid: str | None = None

    @staticmethod
    def rsa(kid: str | None = None, bits: int = 2048) -> Key:
        return Key(rsa.generate_private_key(public_exponent=65537, key_size=bits), kid or uuid.uuid4().hex)

    @staticmethod
    def ec(kid: str | None = None) -> Key:
        return Key(ec.generate_private_key(ec.SECP256R1()), kid or uuid.uuid4().hex)

    @staticmethod
    def ed25519(kid: str | None = None) -> Key:
        return Key(ed25519.Ed25519PrivateKey.generate(), kid or uuid.uuid4().hex)

    def public_jwk(self, **more: Any) -> Json:
        """The public half of an RSA key as a member of a key set."""
        numbers = self.private.public_key().public_numbers()
        jwk = {"kty": "RSA", "n": _encode_number(numbers.n), "e": _encode_number(numbers.e), "kid": self.kid}
        return {**jwk, "use": "sig", "alg": "RS256", **more}

    def public_pem(self) -> bytes:
        pem: bytes = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem

    def signer(self, algorithm: str) -> Sign:
        """How this key signs under `algorithm`; the key's own kind has to fit it."""
        family, size = algorithm[:2], algorithm[2:]
        if family == "RS":
            return lambda data: self.private.sign(data, padding.PKCS1v15(), _RSA_HASHES[size])
        if family == "PS":
            digest = _RSA_HASHES[size]
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return lambda data: self.private.sign(data, pss, digest)
        if algorithm == "ES256":
            return self._sign_es256
        if algorithm == "EdDSA":
            return lambda data: self.private.sign(data)
        raise ValueError(f"no way to sign with {algorithm}")

    def _sign_es256(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def token(self, claims: Mapping[str, Any] | bytes, algorithm: str = "RS256", **header: Any) -> str:
        """A token signed by this key; a header value of None leaves that member out."""
        members = {"alg": algorithm, "kid": self.kid, **header}
        return encode({k: v for k, v in members.items() if v is not None}, claims, self.signer(algorithm))


def _encode_number(number: int) -> str:
    return encode_base64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def hmac_signer(secret: bytes, algorithm: str = "HS256") -> Sign:
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return lambda data: hmac.new(secret, data, digest).digest()


def unsigned(_: bytes) -> bytes:
    """The signature of `alg: none`."""
    return b""


def bearer_claims(issuer: str, subject: str, audience: Any, **changes: Any) -> Json:
    """The claims of a good access token of five minutes; a change to None leaves that claim out."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": subject,
        "aud": audience,
        "iat": now,
        "exp": now + 300,
        "jti": uuid.uuid4().hex,
        "email": f"{subject}@example.org",
        "groups": ["MLFLOW"],
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}
