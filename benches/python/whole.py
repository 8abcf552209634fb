"""One server without its socket, asked for whole requests: MLflow's with one function, or another's."""

from __future__ import annotations

import gc
import json
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from werkzeug.test import Client

import asgi
import environs
import keys
import login
from cases import Requests, Wrong
from pages import Page, headers, pages
from worker import own_output, serve

JSON = ("Content-Type", "application/json")


class Whole:
    """The app of one contestant."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.kind: str = settings["kind"]
        self.pages = pages(Path(settings["template"], "run").read_text())
        self.token = Requests(settings["issuer"], keys.load(Path(settings["keys"]))).remembered
        self.cookie: str | None = None
        self.flask: Any = None
        if self.kind == "mlflow-oidc-auth":
            import mlflow_oidc_auth.app

            self.application = asgi.Application(mlflow_oidc_auth.app.app)
            return
        import mlflow.server

        self.flask = mlflow.server.app
        if self.kind == "no auth":
            from mlflow.server.fastapi_app import app
        else:
            from mlflow.server.auth import create_app

            app = create_app()
        self.application = asgi.Application(app)

    def sign_in(self) -> str:
        """A login; the cookie."""
        if self.flask is not None:
            client = Client(self.flask, use_cookies=False)

            def fetch(target: str, sent: dict[str, str]) -> tuple[int, Any]:
                answer = client.get(target, headers=sent, base_url=f"http://{environs.HOST}")
                return answer.status_code, answer.headers

            self.cookie = login.ours(fetch)
        else:

            def fetch_native(target: str, sent: dict[str, str]) -> tuple[int, Any]:
                return self.application.request("GET", target, sent.items())[:2]

            self.cookie = login.rivals(fetch_native)
        return self.cookie

    def keep(self, cookie: str) -> None:
        """Sends this cookie from now on: for a function that does not look at it."""
        self.cookie = cookie

    def _headers(self, by: str, page: Page) -> dict[str, str]:
        if by == "session" and self.cookie is None:
            self.sign_in()
        sent = headers(
            f"Bearer {self.token}" if by == "bearer" else None, self.cookie if by == "session" else None
        )
        if page.method == "POST" and by == "session":
            sent["Origin"] = f"http://{environs.HOST}"
        return sent

    def wsgi(self, page: str, by: str, count: int, warm: int = 3) -> list[int]:
        """Nanoseconds of each request to MLflow's Flask app, as a WSGI server calls it."""
        one = self.pages[page]
        named = {
            f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self._headers(by, one).items()
        }
        prepared = [
            environs.environ(one.method, one.target, one.body(), **named) for _ in range(warm + count)
        ]
        app, now, samples = self.flask.wsgi_app, time.perf_counter_ns, array("q")
        status: list[str] = []
        gc.collect()
        for environ in prepared:
            begin = now()
            chunks = app(environ, lambda line, sent, fault=None: status.append(line))
            body = b"".join(chunks)
            chunks.close()
            samples.append(now() - begin)
            self._check(one, int(status.pop().split()[0]), body)
        return samples[warm:].tolist()

    def asgi(self, page: str, by: str, count: int, warm: int = 3) -> list[int]:
        """Nanoseconds of each request to the app, as uvicorn calls it."""
        one = self.pages[page]
        sent = [*self._headers(by, one).items(), JSON]
        prepared = [asgi.scope_of(one.method, one.target, sent, one.body()) for _ in range(warm + count)]
        gc.collect()
        return self.application.loop.run_until_complete(self._timed(one, prepared))[warm:].tolist()

    async def _timed(self, page: Page, prepared: list[tuple[dict[str, Any], bytes]]) -> array[int]:
        now, exchange, samples = time.perf_counter_ns, self.application.exchange, array("q")
        for scope, body in prepared:
            begin = now()
            status, _, content = await exchange(scope, body)
            samples.append(now() - begin)
            self._check(page, status, content)
        return samples

    def _check(self, page: Page, status: int, body: bytes) -> None:
        if status != 200 or page.has.encode() not in body:
            raise Wrong(f"{self.kind}: {page.method} {page.target}: {status} {body[:300]!r}")


if __name__ == "__main__":
    output = own_output()
    serve(Whole(json.loads(sys.argv[1])), sys.stdin, output)
