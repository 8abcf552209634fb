"""mlflow-oidc-auth in a process of its own, since its app takes MLflow's over when it is imported."""

from __future__ import annotations

import gc
import json
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import asgi
import keys
import login
from cases import ALICE, Requests, Wrong
from worker import own_output, serve


class Rival:
    """Its app, a session that was made by a login, and its middleware's own step."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import mlflow_oidc_auth.app
        from mlflow_oidc_auth.config import config
        from mlflow_oidc_auth.middleware import AuthMiddleware

        self.requests = Requests(settings["issuer"], keys.load(Path(settings["keys"])))
        self.application = asgi.Application(mlflow_oidc_auth.app.app)
        self.middleware = AuthMiddleware(mlflow_oidc_auth.app.app)
        self.session_cookie = config.SESSION_COOKIE_NAME

    def prepare(self) -> list[str]:
        self.cookie = login.rivals(self._fetch)
        return ["mlflow-oidc-auth: bearer", "mlflow-oidc-auth: session"]

    def _fetch(self, target: str, headers: dict[str, str]) -> tuple[int, Any]:
        status, answered, _ = self.application.request("GET", target, headers.items())
        return status, answered

    def _session(self) -> dict[str, Any]:
        """What Starlette's own middleware reads from the cookie before this step; not timed."""
        from base64 import b64decode

        value = self.cookie.partition(f"{self.session_cookie}=")[2].partition(";")[0]
        found: dict[str, Any] = json.loads(b64decode(value.split(".")[0]))
        return found

    def round(self, case: str, count: int, warm: int = 10) -> list[int]:
        """Nanoseconds of each of `count` authentications, after some that are not timed."""
        from starlette.requests import Request

        token = None if case.endswith("session") else self.requests.remembered
        header = [("authorization", f"Bearer {token}")] if token else [("cookie", self.cookie)]
        prepared = []
        for _ in range(warm + count):
            scope, _ = asgi.scope_of("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", header)
            scope["session"] = {} if token else self._session()
            prepared.append(Request(scope))
        gc.collect()
        gc.freeze()
        samples = self.application.loop.run_until_complete(self._timed(prepared))
        gc.unfreeze()
        return samples[warm:].tolist()

    async def _timed(self, prepared: list[Any]) -> array[int]:
        from starlette.responses import Response

        good = Response(status_code=204)

        async def call_next(request: Any) -> Response:
            return good

        now, dispatch, samples = time.perf_counter_ns, self.middleware.dispatch, array("q")
        for request in prepared:
            begin = now()
            answer = await dispatch(request, call_next)
            samples.append(now() - begin)
            if answer is not good or request.state.username != ALICE:
                raise Wrong(f"expected {ALICE}, found {answer.status_code} {bytes(answer.body)[:300]!r}")
        return samples


if __name__ == "__main__":
    output = own_output()
    serve(Rival(json.loads(sys.argv[1])), sys.stdin, output)
