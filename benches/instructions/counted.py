"""What callgrind runs: our function in Flask request contexts, one path after the other.

There is no MLflow here, whose import is slow under valgrind: the engine is given a table of users in memory,
which none of the counted paths asks. Everything else is the installed wheel, Flask and werkzeug.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import tempfile
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response
from marks import Marks
from werkzeug.datastructures import Authorization

from environs import bearer, cookie, environ
from mlflow_oidc import hook
from mlflow_oidc._native import Engine
from mlflow_oidc.given import Given

# Calls before it is counted: everything is built then, and no refusal writes a line of the log any more.
WARM = {Authorization: 5, Response: 505}


class Users:
    """MLflow's table, as far as the first sight of a user needs it."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, str, bool]] = {}

    def find(self, username: str, waits: bool = True) -> tuple[int, str, bool] | None:
        return self._rows.get(username)

    def create(self, username: str, password_hash: str, is_admin: bool, number: int) -> str:
        self._rows[username] = (number, password_hash, is_admin)
        return "made"

    def wait_until_seen(self, username: str) -> None:
        assert username in self._rows


def sign_in(app: Flask) -> str:
    """The cookie after a login: from us to the provider, and back."""
    begun = answered(app, environ(target="/oidc/login?next=%2F&go=1"))
    provider = urlsplit(begun.headers["Location"])
    connection = HTTPConnection(provider.netloc)
    connection.request("GET", f"{provider.path}?{provider.query}")
    back = urlsplit(connection.getresponse().headers["Location"])
    attempt = begun.headers["Set-Cookie"].partition(";")[0]
    ended = answered(app, environ(target=f"{back.path}?{back.query}", HTTP_COOKIE=attempt))
    return ended.headers["Set-Cookie"].partition(";")[0]


def answered(app: Flask, request: dict[str, Any]) -> Response:
    with app.request_context(request):
        answer = hook.authenticate_request()
    assert isinstance(answer, Response), answer
    assert answer.status_code == 302, answer
    return answer


def main() -> None:
    told = json.loads(Path(sys.argv[1]).read_text())
    marks, app = Marks(), Flask("counted")
    logger = logging.getLogger("counted")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    with tempfile.TemporaryDirectory() as folder:
        settings = [("issuer_url", told["issuer"]), ("client_id", "mlflow"), ("client_secret", "x" * 20)]
        # So long that no rows are read again while it is counted, which is thirty times slower than life.
        settings.append(("session_cache_seconds", "60"))
        database = str(Path(folder, "basic_auth.db"))
        given = Given(settings, "admin", database, "sqlite", "3.17.2", Users(), None, "", None)  # type: ignore[arg-type]
        hook._engine = Engine(given, logger)
        run(told["tokens"], marks, app)
        sys.stdout.flush()
        # The engine's threads hold connections to files in the folder; nobody needs them any more.
        os._exit(0)


def run(tokens: dict[str, list[str]], marks: Marks, app: Flask) -> None:
    session = cookie(sign_in(app))
    paths: dict[str, tuple[list[dict[str, str]], int, type]] = {
        "remembered bearer": ([bearer(tokens["remembered"][0])] * 205, 1, Authorization),
        "session": ([session] * 205, 1, Authorization),
        "twelve calls": ([bearer(tokens["remembered"][0])] * 205, 12, Authorization),
        "nobody": ([{}] * 705, 1, Response),
        "garbage": ([bearer("xyz")] * 705, 1, Response),
    }
    for name in ("never seen RS256", "never seen ES256", "never seen EdDSA"):
        paths[name] = ([bearer(token) for token in tokens[name]], 1, Authorization)
    for name in ("expired", "wrong audience", "bad signature"):
        paths[name] = ([bearer(token) for token in tokens[name]], 1, Response)
    gc.disable()
    for name, (headers, calls, kind) in paths.items():
        contexts = [app.request_context(environ(**header)) for header in headers]
        warm = WARM[kind]
        for function, label in ((hook.authenticate_request, name), (constant, f"{name}, nothing done")):
            answer = again(contexts[:warm], function, calls)
            assert isinstance(answer, bool if function is constant else kind), answer
            marks.count(label, partial(again, contexts[warm:], function, calls))
            contexts = [app.request_context(environ(**header)) for header in headers]
        print(json.dumps({"name": name, "count": len(headers) - warm}), flush=True)


def constant() -> bool:
    """What a context and the loop cost by themselves."""
    return True


def again(contexts: list[Any], function: Any, calls: int) -> Any:
    answer = None
    for context in contexts:
        context.push()
        for _ in range(calls):
            answer = function()
        context.pop()
    return answer


if __name__ == "__main__":
    main()
