"""A token as a row writes it: the good one of its place, spoilt in the row's way."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from support import tokens
from support.provider import CLIENT_ID
from support.rejects import keys
from support.rejects.table import Row
from support.rejects.values import Names, evaluate

PROVIDER_SESSION = "provider-session"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


def _person(names: Names) -> tokens.Json:
    return {"email": names["user"], "groups": ["MLFLOW"]}


def _common(names: Names, lifetime: int) -> tokens.Json:
    now = int(time.time())
    return {
        "iss": names["issuer"],
        "aud": CLIENT_ID,
        "sub": names["subject"],
        "exp": now + lifetime,
        "iat": now,
    }


def bearer_claims(names: Names) -> tokens.Json:
    return {**_common(names, 300), **_person(names)}


def id_token_claims(names: Names) -> tokens.Json:
    more = {"email_verified": True, "sid": PROVIDER_SESSION, "nonce": names["nonce"]}
    return {**bearer_claims(names), **more}


def refreshed_id_token_claims(names: Names) -> tokens.Json:
    """One of a login that says when its person was asked, or of a refresh."""
    return {**id_token_claims(names), "auth_time": int(names["auth_time"])}


def bare_id_token_claims(names: Names) -> tokens.Json:
    """One that says neither name nor groups, so that the provider has to be asked for them."""
    return {**_common(names, 300), "sid": PROVIDER_SESSION, "nonce": names["nonce"]}


def logout_token_claims(names: Names) -> tokens.Json:
    more = {"jti": uuid.uuid4().hex, "sid": PROVIDER_SESSION, "events": {LOGOUT_EVENT: {}}}
    return {**_common(names, 120), **more}


def header(**more: Any) -> tokens.Json:
    return {"alg": keys.USUAL, "kid": "rsa", **more}


def good(claims: tokens.Json, **more: Any) -> str:
    """A token as it should be."""
    return _compact(json.dumps(header(**more)), json.dumps(claims), {"key": "rsa"}, keys.USUAL)


def spoilt(row: Row, names: Names, claims: tokens.Json, **more: Any) -> str:
    """The token of a row. What the server must never repeat of it is remembered."""
    head = _changed(header(**more), row.header, row.drop_header, names)
    body = _changed(claims, row.claims, row.drop, names)
    head_text = json.dumps(head) if row.header_text is None else evaluate(row.header_text, names)
    text = json.dumps(body)
    if row.claims_prefix is not None:
        text = f"{{{evaluate(row.claims_prefix, names)}, {text[1:]}"
    if row.claims_text is not None:
        text = evaluate(row.claims_text, names)
    sign = evaluate(row.sign, names)
    token = finished(_compact(head_text, text, sign, head.get("alg")), row.finish, names)
    if any(len(part) > 16 for part in token.split(".")):
        tokens.remember(token)
    return token


def finished(text: str, changes: list[list[Any]], names: Names) -> str:
    """A compact text, or the value of a cookie, after these changes in order."""
    for name, *told in changes:
        text = _FINISH[name](text, *evaluate(told, names))
    return text


def _changed(good: tokens.Json, changes: tokens.Json, dropped: list[str], names: Names) -> tokens.Json:
    kept = {name: value for name, value in good.items() if name not in dropped}
    return {**kept, **evaluate(changes, names)}


def _compact(head: str, body: str, sign: tokens.Json, algorithm: object) -> str:
    # Two halves of a character above the first plane, alone: JSON can say them, UTF-8 cannot.
    parts = [part.encode(errors="surrogatepass") for part in (head, body)]
    signed = ".".join(tokens.encode_base64(part) for part in parts)
    signature = tokens.encode_base64(keys.sign(sign, algorithm, signed.encode()))
    return tokens.remember(f"{signed}.{signature}")


def _part(token: str, index: int, how: str, *told: Any) -> str:
    parts = token.split(".")
    parts[index] = _PART[how](parts[index], *told)
    return ".".join(parts)


# The changes of one part, by the word after its index.
_PART: dict[str, Callable[..., str]] = {
    "set": lambda part, text: text,
    "append": lambda part, text: part + text,
    "prepend": lambda part, text: text + part,
    "first": lambda part, text: text + part[1:],
    "insert": lambda part, at, text: part[:at] + text + part[at:],
    "encode": lambda part, text: tokens.encode_base64(text.encode()),
    "encode_hex": lambda part, text: tokens.encode_base64(bytes.fromhex(text)),
}


def _drop_part(token: str, index: int) -> str:
    parts = token.split(".")
    del parts[index]
    return ".".join(parts)


def _letter(text: str, index: int, bit: int) -> str:
    """One bit of one letter of base64url is another one."""
    at = index % len(text)
    return text[:at] + _ALPHABET[_ALPHABET.index(text[at]) ^ (1 << bit)] + text[at + 1 :]


def _letter_of(text: str, *told: int) -> str:
    """Of a part of a token, or of a cookie, which has no parts."""
    if len(told) == 2:
        return _letter(text, *told)
    parts = text.split(".")
    parts[told[0]] = _letter(parts[told[0]], *told[1:])
    return ".".join(parts)


def _edit_claims(token: str, old: str, new: str) -> str:
    head, body, signature = token.split(".")
    text = tokens.decode_base64(body).decode()
    assert old in text, f"{old} does not stand in {text}"
    return f"{head}.{tokens.encode_base64(text.replace(old, new).encode())}.{signature}"


def _signature_of_another_token(token: str) -> str:
    signed, _, _ = token.rpartition(".")
    other = _compact(json.dumps(header()), json.dumps({"sub": "mallory"}), {"key": "rsa"}, keys.USUAL)
    return f"{signed}.{other.rpartition('.')[2]}"


def _json_serialization(token: str) -> str:
    head, body, signature = token.split(".")
    return json.dumps({"payload": body, "protected": head, "signature": signature})


# The changes of the whole text, by the first word of each.
_FINISH: dict[str, Callable[..., str]] = {
    "append": lambda text, more: text + more,
    "prepend": lambda text, more: more + text,
    "replace": lambda text, other: other,
    "cut": lambda text, count: text[:-count],
    "pad_to": lambda text, length: text.ljust(length, "A"),
    "part": _part,
    "drop_part": _drop_part,
    "letter": _letter_of,
    # The lowest bit of the last letter stands for nothing, and is said to be zero.
    "trailing_bits": lambda token: _letter(token, -1, 0),
    "edit_claims": _edit_claims,
    "signature_of_another_token": _signature_of_another_token,
    "json_serialization": _json_serialization,
}
