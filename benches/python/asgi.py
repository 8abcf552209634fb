"""Calls an ASGI application as uvicorn does, without a socket between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from werkzeug.datastructures import Headers

import environs


class Application:
    """An application and the event loop that it lives on."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._started = asyncio.Event()
        self._life = self.loop.create_task(self._live())
        self.loop.run_until_complete(self._started.wait())

    async def _live(self) -> None:
        await self._incoming.put({"type": "lifespan.startup"})

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.failed":
                raise RuntimeError(message.get("message", "the application did not start"))
            self._started.set()

        await self.app(
            {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, self._incoming.get, send
        )

    def request(self, *what: Any, **more: Any) -> tuple[int, Headers, bytes]:
        """One whole request: the status, the headers and the body."""
        scope, body = scope_of(*what, **more)
        return self.loop.run_until_complete(self.exchange(scope, body))

    async def exchange(self, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        got: list[dict[str, Any]] = []
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            got.append(message)

        await self.app(scope, receive, send)
        headers = Headers((name.decode(), value.decode()) for name, value in got[0]["headers"])
        return got[0]["status"], headers, b"".join(part.get("body", b"") for part in got[1:])


def scope_of(
    method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> tuple[dict[str, Any], bytes]:
    """What uvicorn makes of a request, and its body."""
    path, _, query = target.partition("?")
    sent = [("host", environs.HOST), ("connection", "keep-alive"), *headers]
    if body:
        sent.append(("content-length", str(len(body))))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 5000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent],
        "state": {},
    }
    return scope, body
