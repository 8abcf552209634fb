"""A provider over sockets of its own, with or without TLS: it does what no HTTP library would let it do.

It begins as a good provider. A test makes one of its places bad: `provider.faults["token"] = faults.hang`.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from support import browser as browsers
from support import tokens
from support.browser import Browser
from support.provider import CLIENT_ID, CLIENT_SECRET

PLACES = {
    "discovery": "/.well-known/openid-configuration",
    "keys": "/jwks",
    "token": "/token",
    "userinfo": "/userinfo",
}
# Nobody who asks waits that long; a thread that has been forgotten ends by it.
PATIENCE = 60


@dataclass
class Exchange:
    """One request, and the connection that it came by."""

    stream: socket.socket
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    sent: int = field(default=0)

    @staticmethod
    def read(stream: socket.socket) -> Exchange | None:
        """None when whoever connected leaves without a whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += (more := stream.recv(65536))
            if not more:
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += (more := stream.recv(65536))
            if not more:
                return None
        method, target, _ = line.split(" ", 2)
        return Exchange(stream, method, target.partition("?")[0], headers, body)

    @property
    def place(self) -> str | None:
        return next((place for place, path in PLACES.items() if path == self.path), None)

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)
        self.sent += len(data)

    def answer(
        self, body: Any, status: str = "200 OK", headers: Mapping[str, str] | None = None, **lies: int
    ) -> None:
        """A whole answer; bytes are sent as they are, and `length` is what it claims to be."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"Content-Type": "application/json", **(headers or {})}
        told |= {"Content-Length": str(lies.get("length", len(data))), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self.send(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + data)

    def hold(self) -> None:
        """Says nothing until the other side has gone."""
        self.stream.recv(1)

    def reset(self) -> None:
        """Ends the connection as a crashed machine or a firewall does: RST instead of FIN."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()


Fault = Callable[[Exchange], None]
Answer = tuple[str, dict[str, Any]]


class Listener:
    """A port on loopback, and one thread for each connection to it."""

    def __init__(self, serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self._serve, self._context = serve, context
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone would leave the thread in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        """What is said on one connection, from the TLS handshake on."""
        connection.settimeout(PATIENCE)
        try:
            stream = self._context.wrap_socket(connection, server_side=True) if self._context else connection
        except OSError:
            connection.close()
            return
        with stream:
            try:
                self._serve(stream)
            except OSError:
                """Whoever asked did not wait for the end: that is what these tests are about."""


class MisbehavingProvider:
    """Discovery, keys, tokens and userinfo under one issuer, each of which can be made bad."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._listener = Listener(self._serve, context)
        self.issuer = f"{'https' if context else 'http'}://127.0.0.1:{self._listener.port}"
        self.key = tokens.Key.rsa()
        self.older_keys: list[tokens.Key] = []
        # Whether it gives refresh tokens; each is good once.
        self.refreshes = False
        self._grants: dict[str, str] = {}
        self.faults: dict[str, Fault] = {}
        # Members of the metadata that are not as they are by default.
        self.metadata: dict[str, Any] = {}
        # Its clock, as an HTTP date; without one it tells no time.
        self.date: str | None = None
        self.seen: list[Exchange] = []
        self._codes: dict[str, tuple[str, str]] = {}
        self._access_tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        self._in_trouble = 0

    def close(self) -> None:
        self._listener.close()

    def talk(self, connection: socket.socket) -> None:
        """On a connection that somebody else took, a proxy for example."""
        self._listener.talk(connection)

    @property
    def connections(self) -> int:
        """How many have connected, whether or not a request came of it."""
        return self._listener.connections

    @property
    def in_trouble(self) -> int:
        """How many requests are being treated badly at this moment."""
        return self._in_trouble

    def count(self, place: str) -> int:
        return sum(exchange.place == place for exchange in list(self.seen))

    def move(self, place: str, origin: str) -> None:
        """The metadata names another origin for this place."""
        member = {"keys": "jwks_uri", "token": "token_endpoint", "userinfo": "userinfo_endpoint"}[place]
        self.metadata[member] = origin + PLACES[place]

    def mend(self) -> None:
        self.faults.clear()
        self.metadata.clear()

    def rotate(self) -> None:
        """Signs with a new key from here on; the ones before it are still published."""
        self.older_keys.append(self.key)
        self.key = tokens.Key.rsa()

    def bearer(self, subject: str = "alice", **changes: Any) -> str:
        return self.key.token(tokens.bearer_claims(self.issuer, subject, CLIENT_ID, **changes))

    def begin_login(self, browser: Browser, subject: str = "alice") -> str:
        """Goes to the provider and says who is there; the callback's address is returned, not opened."""
        answer = browser.open(browser.server.url + "/oidc/login?next=/&go=1")
        assert answer.status_code == 302, f"{answer.status_code} {answer.text}"
        asked = browsers.query_of(answer.headers["Location"])
        code = secrets.token_urlsafe(16)
        self._codes[code] = (subject, asked["nonce"])
        return f"{browser.server.url}/oidc/callback?{urlencode({'code': code, 'state': asked['state']})}"

    def _serve(self, stream: socket.socket) -> None:
        exchange = Exchange.read(stream)
        if exchange is None:
            return
        with self._lock:
            self.seen.append(exchange)
        fault = self.faults.get(exchange.place or "")
        if fault is None:
            self.answer_well(exchange)
            return
        with self._lock:
            self._in_trouble += 1
        try:
            fault(exchange)
        finally:
            with self._lock:
                self._in_trouble -= 1

    def answer_well(self, exchange: Exchange, content_type: str = "application/json") -> None:
        """What a good provider answers, but for the name of its kind."""
        good = {
            "discovery": self._metadata,
            "keys": self._keys,
            "token": self._exchange_code,
            "userinfo": self._say_who,
        }
        status, body = good.get(exchange.place or "", _not_found)(exchange)
        dated = {} if self.date is None else {"Date": self.date}
        exchange.answer(body, status, {"Content-Type": content_type, **dated})

    def _metadata(self, _: Exchange) -> Answer:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": self.issuer + PLACES["token"],
            "jwks_uri": self.issuer + PLACES["keys"],
            "userinfo_endpoint": self.issuer + PLACES["userinfo"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return "200 OK", {**document, **self.metadata}

    def _keys(self, _: Exchange) -> Answer:
        return "200 OK", {"keys": [key.public_jwk() for key in (self.key, *self.older_keys)]}

    def _exchange_code(self, exchange: Exchange) -> Answer:
        """As a provider does it: the client proves itself, and a code is good for once."""
        form = dict(parse_qsl(exchange.body.decode()))
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if (
            f"Basic {pair}" != exchange.headers.get("authorization")
            and form.get("client_secret") != CLIENT_SECRET
        ):
            return "401 Unauthorized", {"error": "invalid_client"}
        with self._lock:
            if form.get("grant_type") == "refresh_token":
                subject, nonce = self._grants.pop(form["refresh_token"], None), None
            else:
                subject, nonce = self._codes.pop(form.get("code", ""), (None, None))
        if subject is None:
            return "400 Bad Request", {"error": "invalid_grant"}
        access_token = tokens.remember(secrets.token_urlsafe(32))
        self._access_tokens[access_token] = subject
        # Without groups, so that no login goes by the UserInfo endpoint.
        claims = tokens.bearer_claims(self.issuer, subject, CLIENT_ID, nonce=nonce, groups=None)
        answer = {
            "id_token": self.key.token(claims),
            "access_token": access_token,
            "token_type": "Bearer",
        }
        if self.refreshes:
            answer["refresh_token"] = tokens.remember(secrets.token_urlsafe(32))
            self._grants[answer["refresh_token"]] = subject
        return "200 OK", answer

    def _say_who(self, exchange: Exchange) -> Answer:
        scheme, _, access_token = exchange.headers.get("authorization", "").partition(" ")
        subject = self._access_tokens.get(access_token)
        if scheme != "Bearer" or subject is None:
            return "401 Unauthorized", {"error": "invalid_token"}
        return "200 OK", {"sub": subject, "groups": ["MLFLOW"]}


def _not_found(_: Exchange) -> Answer:
    return "404 Not Found", {"error": "not_found"}
