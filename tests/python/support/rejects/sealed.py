"""The cookie, opened and sealed again with the server's own secret, by an implementation of the tests' own.

Only so can a login be made an hour old without waiting for an hour: no setting shortens that time, and nobody
without the secret could make such a cookie.
"""

from __future__ import annotations

import json
import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from support import tokens

_NONCE = 12
_PURPOSE = b"cookie"


def _cipher(secret: str) -> AESGCMSIV:
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"mlflow-oidc", info=b"seal v1")
    return AESGCMSIV(derive.derive(secret.encode()))


def open_value(value: str, secret: str) -> Any:
    data = tokens.decode_base64(value)
    return json.loads(_cipher(secret).decrypt(data[:_NONCE], data[_NONCE:], _PURPOSE))


def seal_value(content: Any, secret: str) -> str:
    nonce = os.urandom(_NONCE)
    return tokens.encode_base64(
        nonce + _cipher(secret).encrypt(nonce, json.dumps(content).encode(), _PURPOSE)
    )


def older(value: str, secret: str, seconds: int) -> str:
    """The same cookie, in which every login was begun that many seconds earlier."""
    session, attempts = open_value(value, secret)
    attempts = [[*attempt[:-1], attempt[-1] - seconds] for attempt in attempts]
    return seal_value([session, attempts], secret)
