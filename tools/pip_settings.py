"""Says to uv what the machine has said to pip, so that a mirror or a company's certificate works for both."""

from __future__ import annotations

import ast
import os
import subprocess
from functools import lru_cache
from pathlib import Path

# pip's setting -> uv's variable, and what joins several values there.
TABLE = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
}


@lru_cache(maxsize=1)
def for_uv(python: Path) -> dict[str, str]:
    """The variables that uv needs beside those it has; what somebody has said to uv itself is left alone."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = parse(listed)
    variables = {name: value for name, value in found.items() if name not in os.environ}
    # An interpreter that is missing is reported by us; uv must not fetch one.
    variables["UV_PYTHON_DOWNLOADS"] = "never"
    return variables


def parse(listed: str) -> dict[str, str]:
    """`pip config list`, one `section.key='value'` a line; the environment's lines win over the files'."""
    found: dict[str, str] = {}
    lines = sorted(listed.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in lines:
        name, equals, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if not equals or key not in TABLE or section not in ("global", "install", ":env:"):
            continue
        variable, separator = TABLE[key]
        found[variable] = separator.join(str(ast.literal_eval(value)).split())
    return found
