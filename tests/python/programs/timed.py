"""An `authorization_function` for tests: that of `many_engines`, and how long it held the event loop.

Where an event loop runs in the calling thread, everybody else waits for us: the milliseconds of each such
call, and those of the CPU, are kept under what its `X-Kind` header says. `GET /test/times` returns and
forgets them; `POST` keeps the pauses of CPython's garbage collection out of what follows.
"""

import gc
import json
import time
from asyncio import _get_running_loop

import many_engines
from flask import Response, request

PATH = "/test/times"

_times = []


def authenticate_request():
    if request.path == PATH and request.method == "POST":
        # CPython looks at every object now and then, and MLflow has a million of them: 0.2 s or more,
        # in which everybody waits. What is there by now is left out from here on.
        gc.collect()
        gc.freeze()
        return Response(status=204)
    if request.path == PATH:
        told = list(_times)
        _times.clear()
        # MLflow runs its after-request hooks on what is below 400; nothing of its own hangs at this path.
        return Response(json.dumps(told), mimetype="application/json")
    if _get_running_loop() is None:
        return many_engines.authenticate_request()
    started, begun = time.perf_counter(), time.thread_time()
    try:
        return many_engines.authenticate_request()
    finally:
        took, used = time.perf_counter() - started, time.thread_time() - begun
        _times.append((request.headers.get("X-Kind", ""), took * 1000, used * 1000))
