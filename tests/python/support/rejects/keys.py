"""The keys that rows name, and signatures of every kind by them.

Each key is made once for a whole run of the tests: an RSA key of 2048 bits costs a tenth of a second.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from support import tokens

# What the header says when a row does not.
USUAL = "RS256"

_CURVES = {"p256": ec.SECP256R1(), "p256_other": ec.SECP256R1(), "p384": ec.SECP384R1()}
_DIGESTS = {ec.SECP256R1.name: hashes.SHA256(), ec.SECP384R1.name: hashes.SHA384()}


@functools.cache
def key(name: str) -> Any:
    """The private key of that name."""
    if name in ("rsa", "rsa_other"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if name == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[name])


def jwk(name: str, kid: str) -> tokens.Json:
    """The public half as a member of a key set, without `alg`, `use` and `key_ops`."""
    public = key(name).public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        x = tokens.encode_base64(public.public_bytes_raw())
        return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}
    numbers = public.public_numbers()
    if isinstance(public, rsa.RSAPublicKey):
        return {"kty": "RSA", "kid": kid, "n": number(numbers.n), "e": number(numbers.e)}
    length = (public.curve.key_size + 7) // 8
    curve = f"P-{public.curve.key_size}"
    x, y = number(numbers.x, length), number(numbers.y, length)
    return {"kty": "EC", "crv": curve, "kid": kid, "x": x, "y": y}


def number(value: int, length: int | None = None) -> str:
    return tokens.encode_base64(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def _by_key(told: Mapping[str, Any], algorithm: str, data: bytes) -> bytes:
    """As `algorithm` asks; a key that has no such signature gives its usual one."""
    private = key(told["key"])
    if isinstance(private, rsa.RSAPrivateKey):
        fits = algorithm[:2] in ("RS", "PS") and algorithm[2:] in ("256", "384", "512")
        return tokens.Key(private).signer(algorithm if fits else USUAL)(data)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(data)
    length = (private.curve.key_size + 7) // 8
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(_DIGESTS[private.curve.name])))
    return r.to_bytes(length, "big") + s.to_bytes(length, "big")


def _by_hmac(secret: bytes, algorithm: str, data: bytes) -> bytes:
    return tokens.hmac_signer(secret, algorithm if algorithm in ("HS384", "HS512") else "HS256")(data)


def _public(form: str) -> bytes:
    """What an attacker takes for an HMAC secret: the public key as everybody can download it."""
    if form == "jwk":
        return json.dumps(jwk("rsa", "rsa"), sort_keys=True, separators=(",", ":")).encode()
    der: bytes = (
        key("rsa")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    if form == "der":
        return der
    assert form == "pem", f"no public key as {form}"
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]).encode()


def _encoded_message(data: bytes) -> bytes:
    """The block that an RSA signature with SHA-256 opens to (RFC 8017 section 9.2): under a key of exponent 1
    it is its own signature."""
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    tail = info + hashlib.sha256(data).digest()
    return b"\0\1" + b"\xff" * (256 - 3 - len(tail)) + b"\0" + tail


# How the member `sign` of a row is read: one word of it says who signs.
_KINDS: dict[str, Callable[[Mapping[str, Any], str, bytes], bytes]] = {
    "key": _by_key,
    "hmac": lambda told, algorithm, data: _by_hmac(told["hmac"].encode(), algorithm, data),
    "hmac_public": lambda told, algorithm, data: _by_hmac(_public(told["hmac_public"]), algorithm, data),
    "fixed": lambda told, algorithm, data: bytes([told["fixed"][0]]) * told["fixed"][1],
    "exponent_one": lambda told, algorithm, data: _encoded_message(data),
}


def sign(told: Mapping[str, Any], algorithm: object, data: bytes) -> bytes:
    """A signature as a row wants it; `as` in it lets the header lie about the algorithm."""
    kinds = [kind for kind in _KINDS if kind in told]
    assert len(kinds) == 1, f"one of {sorted(_KINDS)}: {told}"
    assert not set(told) - {*kinds, "as"}, f"an unknown member of 'sign': {told}"
    algorithm = told.get("as", algorithm)
    return _KINDS[kinds[0]](told, algorithm if isinstance(algorithm, str) else USUAL, data)
