"""What the provider of a row says: its discovery document, its key set, and answers that are none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from support import tokens
from support.rejects import keys
from support.rejects.provider import Answer, Issuer, usual_keys
from support.rejects.table import Row
from support.rejects.values import Names, evaluate

_ANSWER = {"status", "type", "fault"}
_BODIES: dict[str, Callable[[Any], bytes]] = {
    "json": lambda told: json.dumps(told).encode(),
    "text": lambda told: told.encode(),
    "base64": base64.b64decode,
}
_KEY = {"jwk", "kid", "set", "drop", "times", "raw"}


def prepare(row: Row, issuer: Issuer, names: Names) -> None:
    """Sets an issuer up, apart from the end of a login."""
    document = {name: value for name, value in issuer.metadata().items() if name not in row.drop_metadata}
    issuer.answers["metadata"] = Answer.json({**document, **evaluate(row.metadata, names)})
    published = usual_keys()
    if row.keys is not None:
        published = [key for told in row.keys for key in _keys(told, names)]
    issuer.answers["keys"] = Answer.json({"keys": published})
    for name in ("metadata", "keys"):
        replace(row, issuer, name, names)


def replace(row: Row, issuer: Issuer, name: str, names: Names, good: tokens.Json | None = None) -> None:
    """Takes the row's whole answer in the place of the usual one, if it has one."""
    if name in row.answers:
        issuer.answers[name] = _answer(row.answers[name], names, good)


def _keys(told: tokens.Json, names: Names) -> list[Any]:
    assert not set(told) - _KEY, f"only {sorted(_KEY)} may be in a key: {told}"
    if "raw" in told:
        return [evaluate(told["raw"], names)]
    dropped = {*told.get("drop", []), *(["kid"] if told["kid"] is None else [])}
    jwk = keys.jwk(told["jwk"], told["kid"])
    kept = {name: value for name, value in jwk.items() if name not in dropped}
    return [{**kept, **evaluate(told.get("set", {}), names)}] * told.get("times", 1)


def _answer(told: tokens.Json, names: Names, good: tokens.Json | None) -> Answer:
    assert not set(told) - _ANSWER - set(_BODIES), (
        f"only {sorted({*_ANSWER, *_BODIES})} may be in an answer: {told}"
    )
    told = evaluate(told, names, {"$tokens": lambda _: good})
    if "fault" in told:
        assert told["fault"] in ("down", "hang"), f"no fault is called {told['fault']}"
        return Answer(fault=told["fault"])
    (body,) = set(_BODIES) & set(told)
    return Answer(_BODIES[body](told[body]), told.get("status", 200), told.get("type", "application/json"))
