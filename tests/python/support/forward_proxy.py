"""A forward proxy between this machine and the world."""

from __future__ import annotations

import base64
import socket

from support.misbehaving import Exchange, Listener, MisbehavingProvider


class Proxy:
    """An HTTP proxy as companies have them: it notes who is wanted, and brings everybody to one provider."""

    def __init__(self, provider: MisbehavingProvider, credentials: str | None = None) -> None:
        """`credentials` is `user:password`; without them it lets everybody through."""
        self._provider, self._credentials = provider, credentials
        self._listener = Listener(self._serve)
        self.url = f"http://127.0.0.1:{self._listener.port}"
        self.seen: list[Exchange] = []

    def close(self) -> None:
        self._listener.close()

    def _serve(self, stream: socket.socket) -> None:
        exchange = Exchange.read(stream)
        if exchange is None:
            return
        self.seen.append(exchange)
        if exchange.method != "CONNECT":
            exchange.answer({"error": "only CONNECT"}, "403 Forbidden")
            return
        if self._credentials is not None:
            wanted = "Basic " + base64.b64encode(self._credentials.encode()).decode()
            if exchange.headers.get("proxy-authorization") != wanted:
                exchange.answer({}, "407 Proxy Authentication Required", {"Proxy-Authenticate": "Basic"})
                return
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        self._provider.talk(stream)
