"""One process of the bench: MLflow's auth app and the functions in it, told by lines of JSON what to time.

`run.py` starts it; several are asked by turns, so that what disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import itertools
import json
import os
import resource
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environs
import keys
from cases import ALICE, CALLS, Case, Requests, Wrong, is_newcomer, is_refused, is_user

PASSWORD = "a-password-of-the-bench-0123456789"


class Worker:
    """The app and every case; a method for each question."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import mlflow.server.auth
        from mlflow_oidc_prototype import Prototype

        import auth.oidc_auth
        import functions

        self.issuer: str = settings["issuer"]
        self.requests = Requests(self.issuer, keys.load(Path(settings["keys"])))
        self.mlflow = mlflow.server.auth
        self.app = self.mlflow.create_app()
        self.app.testing = True
        self.ours: functions.Function = auth.oidc_auth.authenticate_request
        self.functions = functions
        self._prototype = Prototype
        self.cases: dict[str, Case] = {}

    def prepare(self, only: list[str] | None = None) -> list[str]:
        """Signs in, makes every user that is expected, and makes the cases."""
        wanted = self._cases()
        self.cases = {name: case for name, case in wanted.items() if only is None or name in only}
        return list(self.cases)

    def _cases(self) -> dict[str, Case]:
        make, functions = self.requests, self.functions
        from flask import Response
        from werkzeug.datastructures import Authorization

        alice = is_user(ALICE)
        remembered = environs.bearer(make.remembered)
        self.answer(environs.environ(**remembered), self.ours, alice)
        session = environs.cookie(self.sign_in())
        self.answer(environs.environ(**session), self.ours, alice)

        with_keys = json.dumps({"keys": [key.jwk for key in make._signing.values()]})
        native = self._prototype(
            self.issuer, keys.CLIENT_ID, with_keys, {keys.SUBJECT: ALICE}, Authorization, Response
        )
        # As long as ours, because a longer value takes longer to hash.
        value = session["HTTP_COOKIE"].partition("=")[2]
        native.add_session(value, ALICE)
        prototype = functions.prototype(native)
        known = environs.cookie(f"session={value}")

        if not self.mlflow.store.has_user("basic@example.org"):
            self.mlflow.store.create_user("basic@example.org", PASSWORD)
        password = base64.b64encode(f"basic@example.org:{PASSWORD}".encode()).decode()
        basic = {"HTTP_AUTHORIZATION": f"Basic {password}"}
        careful = functions.CarefulPython(self.issuer, remembers=False).authenticate_request
        caching = functions.CarefulPython(self.issuer, remembers=True).authenticate_request
        original = functions.Original(self.issuer).authenticate_request
        by_basic = self.mlflow.authenticate_request_basic_auth
        cache = self.mlflow._USER_AUTH_CACHE

        def remembering(whether: bool) -> Callable[[], None]:
            # What `auth_cache_ttl_seconds` decides at import, so that both can be timed in one process.
            return lambda: setattr(self.mlflow, "_USER_AUTH_CACHE", cache if whether else None)

        same, seen = make.same, make.never_seen
        cases = {
            "constant": Case(functions.constant(ALICE), same(**remembered), alice),
            "empty response": Case(functions.empty_response, same(), is_refused),
            "prototype: remembered": Case(prototype, same(**remembered), alice),
            "ours: remembered": Case(self.ours, same(**remembered), alice),
            "careful Python with a token cache: remembered": Case(caching, same(**remembered), alice),
            "prototype: session": Case(prototype, same(**known), alice),
            "ours: session": Case(self.ours, same(**session), alice),
            "prototype: twelve calls": Case(prototype, same(**remembered), alice, CALLS),
            "ours: twelve calls": Case(self.ours, same(**remembered), alice, CALLS),
            "prototype: no credentials": Case(prototype, same(), is_refused),
            "ours: no credentials": Case(self.ours, same(), is_refused),
            "ours: garbage": Case(self.ours, same(**environs.bearer("xyz")), is_refused),
            "prototype: garbage": Case(prototype, same(**environs.bearer("xyz")), is_refused),
            "careful Python: never seen RS256": Case(careful, seen("RS256"), alice),
            "ours: bad signature": Case(self.ours, make.bad_signature(), is_refused),
            "ours: expired": Case(self.ours, make.expired(), is_refused),
            "ours: wrong audience": Case(self.ours, make.wrong_audience(), is_refused),
            "ours: first sight": Case(self.ours, make.newcomers(), is_newcomer),
            "careful Python: first sight": Case(careful, make.newcomers(), is_newcomer),
            "basic: no cache": Case(
                by_basic, same(**basic), is_user("basic@example.org"), before=remembering(False)
            ),
            "basic: cache": Case(
                by_basic, same(**basic), is_user("basic@example.org"), before=remembering(True)
            ),
            "original (reconstructed): bearer": Case(original, seen("RS256"), alice),
        }
        for algorithm in keys.ALGORITHMS:
            cases[f"prototype: never seen {algorithm}"] = Case(prototype, seen(algorithm), alice)
            cases[f"ours: never seen {algorithm}"] = Case(self.ours, seen(algorithm), alice)
        return cases

    def answer(self, environ: dict[str, Any], function: Any, check: Callable[[Any], None]) -> None:
        """One call that must be right, untimed."""
        with self.app.request_context(environ):
            check(function())

    def sign_in(self) -> str:
        """A whole login at the provider; the cookie of the session, `name=value`."""
        from werkzeug.test import Client

        import login

        client = Client(self.app, use_cookies=False)

        def fetch(target: str, headers: dict[str, str]) -> tuple[int, Any]:
            answer = client.get(target, headers=headers, base_url=f"http://{environs.HOST}")
            return answer.status_code, answer.headers

        return login.ours(fetch)

    def round(self, case: str, count: int, warm: int = 10) -> list[int]:
        """Nanoseconds of each of `count` calls, after some that are not timed."""
        row = self.cases[case]
        row.before()
        prepared = list(itertools.islice(row.requests, warm + count))
        # What the bench has made is not looked at; what the function leaves is collected as in a server.
        gc.collect()
        gc.freeze()
        samples = self._timed(row, prepared)
        gc.unfreeze()
        return samples[warm:].tolist()

    def _timed(self, row: Case, prepared: list[dict[str, Any]]) -> array[int]:
        now, function, check, calls = time.perf_counter_ns, row.function, row.check, range(row.calls)
        samples = array("q")
        for environ in prepared:
            context = self.app.request_context(environ)
            context.push()
            try:
                if row.calls == 1:
                    begin = now()
                    answer = function()
                    end = now()
                else:
                    begin = now()
                    for _ in calls:
                        answer = function()
                    end = now()
            finally:
                context.pop()
            check(answer)
            samples.append(end - begin)
        return samples

    def meet(self, count: int) -> None:
        """As many people as were put into the database sign in, each by a token, and are remembered."""
        for place in range(count):
            name = f"person-{place}"
            told = {"subject": name, "email": keys.username(name), "preferred_username": name}
            request = environs.environ(**environs.bearer(self.requests.token("RS256", **told)))
            self.answer(request, self.ours, is_user(keys.username(name)))

    def flood(self, function: str, kind: str, tokens: str) -> dict[str, int]:
        """By how many bytes memory grows with the tokens of a file, which were never seen.

        They are read one by one, so that nothing is freed into whose place the function could put its own.
        """
        called = self.ours if function == "ours" else self.functions.constant(ALICE)
        check = is_user(ALICE) if kind == "valid" or function == "constant" else is_refused
        before = held()
        with open(tokens) as lines:
            for line in lines:
                self.answer(environs.environ(**environs.bearer(line.rstrip())), called, check)
        return {name: number - before[name] for name, number in held().items()}

    def threads(self, case: str, count: int, threads: int) -> float:
        """Calls in a second of so many threads together, each with requests of its own."""
        row = self.cases[case]
        shares = [list(itertools.islice(row.requests, count)) for _ in range(threads)]
        barrier = threading.Barrier(threads + 1)
        faults: list[BaseException] = []

        def work(share: list[dict[str, Any]]) -> None:
            # Pushed before, one upon the other, because making them holds the GIL and would be half of what
            # is timed. Each has an app context of its own, else all would share one `g` and its answer.
            contexts = [(self.app.app_context(), self.app.request_context(environ)) for environ in share]
            for outer, inner in contexts:
                outer.push()
                inner.push()
            barrier.wait()
            last = None
            try:
                for outer, inner in reversed(contexts):
                    answer = row.function()
                    if answer is last:
                        raise Wrong("the answer is that of the request before")
                    row.check(answer)
                    last = answer
                    inner.pop()
                    outer.pop()
            except BaseException as fault:
                faults.append(fault)

        started = [threading.Thread(target=work, args=(share,)) for share in shares]
        for thread in started:
            thread.start()
        barrier.wait()
        begin = time.perf_counter()
        for thread in started:
            thread.join()
        seconds = time.perf_counter() - begin
        if faults:
            raise faults[0]
        return threads * count / seconds


class _Allocated(ctypes.Structure):
    """`struct mallinfo2` of glibc: all arenas together."""

    _fields_ = [
        *((f"before{place}", ctypes.c_size_t) for place in range(4)),
        ("hblkhd", ctypes.c_size_t),
        *((f"between{place}", ctypes.c_size_t) for place in range(2)),
        ("uordblks", ctypes.c_size_t),
        *((f"after{place}", ctypes.c_size_t) for place in range(2)),
    ]


def held() -> dict[str, int]:
    """Bytes: resident, after what is free was given back, and allocated by malloc and not freed."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    libc.mallinfo2.restype = _Allocated
    counted = libc.mallinfo2()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "resident": pages * resource.getpagesize(),
        "allocated": counted.uordblks + counted.hblkhd,
    }


def serve(worker: Any, told: Any, said: Any) -> None:
    """Answers one line with one line, until there is none."""
    for line in told:
        question = json.loads(line)
        try:
            answer = {"is": getattr(worker, question.pop("do"))(**question)}
        except Wrong as fault:
            answer = {"wrong": str(fault)}
        said.write(json.dumps(answer) + "\n")
        said.flush()


def own_output() -> Any:
    """Where the answers go; whatever is printed by somebody else goes to the log with the rest of stderr."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return said


if __name__ == "__main__":
    output = own_output()
    serve(Worker(json.loads(sys.argv[1])), sys.stdin, output)
