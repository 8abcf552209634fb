"""What a row says beside plain JSON.

`${name}` inside a text stands for something of the run, and an object with one member that begins with `$`
for a value that no literal can say: a time, a long text, a hash, a key.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from support import tokens
from support.rejects import keys

Names = Mapping[str, str]

_NAME = re.compile(r"\$\{([a-z_]*)\}")


def now(offset: float = 0) -> int:
    """Seconds since 1970, rounded away from the moment: 'a second too early' must still be that when it is
    read, which is later than when it is written."""
    moment = time.time()
    return math.ceil(moment + offset) if offset > 0 else math.floor(moment + offset)


def _other_scheme(address: str) -> str:
    one, other = ("https:", "http:") if address.startswith("https:") else ("http:", "https:")
    return address.replace(one, other, 1)


def _basic(told: list[str]) -> str:
    return "Basic " + base64.b64encode(":".join(told).encode()).decode()


def _jwk(told: list[str]) -> Any:
    key, *member = told
    jwk = keys.jwk(key, key)
    return jwk[member[0]] if member else jwk


# What each name that begins with `$` makes of what stands beside it.
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "$now": now,
    "$now_ms": lambda told: now(told) * 1000,
    "$now_text": lambda told: str(now(told)),
    "$now_float": lambda told: math.floor(time.time()) + float(told),
    "$repeat": lambda told: told[0] * told[1],
    "$concat": "".join,
    "$cut": lambda told: told[0][: -told[1]],
    "$skip": lambda told: told[0][told[1] :],
    "$upper": str.upper,
    "$lower": str.lower,
    "$other_scheme": _other_scheme,
    "$query": lambda told: quote(told, safe=""),
    "$base64url": lambda told: tokens.encode_base64(told.encode()),
    "$base64url_hex": lambda told: tokens.encode_base64(bytes.fromhex(told)),
    "$base64url_repeat": lambda told: tokens.encode_base64(bytes([told[0]]) * told[1]),
    "$at_hash": lambda told: tokens.encode_base64(hashlib.sha256(told[0].encode()).digest()[: told[1]]),
    "$basic": _basic,
    "$jwk": _jwk,
}


def evaluate(value: Any, names: Names, more: Mapping[str, Callable[[Any], Any]] | None = None) -> Any:
    """The value that is meant; `more` are further functions of the place. What is not known is an error."""
    if isinstance(value, str):
        return _text(value, names)
    if isinstance(value, list):
        return [evaluate(item, names, more) for item in value]
    if not isinstance(value, dict):
        return value
    functions = {**_FUNCTIONS, **(more or {})}
    if called := [name for name in value if name.startswith("$") and not name.startswith("${")]:
        assert len(value) == 1, f"one member alone: {value}"
        assert called[0] in functions, f"{called[0]} is none of {sorted(functions)}"
        return functions[called[0]](evaluate(value[called[0]], names, more))
    return {_text(name, names): evaluate(item, names, more) for name, item in value.items()}


def _text(value: str, names: Names) -> str:
    def named(found: re.Match[str]) -> str:
        assert found[1] in names, f"{found[0]} means nothing here, only {sorted(names)} do"
        return names[found[1]]

    return _NAME.sub(named, value)
