"""One provider process with many issuers, `/r/1`, `/r/2` and so on, each with a script of its own.

An engine keeps what it knows of its issuer for hours, so a row that spoils metadata or keys gets an issuer
that no engine has seen. Every answer may be replaced as a whole, also by no answer at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

from support import ports
from support.provider import CLIENT_ID, CLIENT_SECRET
from support.rejects import keys

CODE = "good-code"
ACCESS_TOKEN = "opaque-access-token"
REFRESH_TOKEN = "opaque-refresh-token"
# Longer than anybody waits; whoever ends the run lets it go.
HANGS_FOR = 60


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer, or a fault in its place."""

    body: bytes = b""
    status: int = 200
    type: str = "application/json"
    # `down`: the connection is reset. `hang`: it is, but not before somebody lets it go.
    fault: str | None = None

    @staticmethod
    def json(document: Any, **more: Any) -> Answer:
        return Answer(json.dumps(document).encode(), **more)


@dataclass
class Issuer:
    """One issuer and what it says. The run that uses it changes it."""

    address: str
    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    # What browsers were sent here with, by their PKCE challenge: an exchange of a code is judged by it.
    logins: dict[str, Mapping[str, str]] = field(default_factory=dict)
    # The paths that were asked for, below the issuer.
    asked: list[str] = field(default_factory=list)
    # What our server did wrong as a client.
    faults: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def metadata(self) -> dict[str, Any]:
        """The usual document: every algorithm, every endpoint."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "userinfo_endpoint": f"{self.address}/userinfo",
            "end_session_endpoint": f"{self.address}/logout",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(ALGORITHMS),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def release(self) -> None:
        """Whoever hangs is let go, and the next one may hang again."""
        self.released.set()
        self.released = threading.Event()


ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")


def usual_keys() -> list[dict[str, Any]]:
    return [keys.jwk(name, name) for name in ("rsa", "p256", "p384", "ed25519")]


# The path of each answer below its issuer.
PATHS = {
    "/.well-known/openid-configuration": "metadata",
    "/keys": "keys",
    "/token": "token",
    "/userinfo": "userinfo",
}


class RowProvider:
    """The process of all these issuers."""

    def __init__(self) -> None:
        self.port = ports.free()
        self.issuers: dict[str, Issuer] = {}
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> RowProvider:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self, b"")

            def do_POST(self) -> None:
                provider._answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def log_message(self, format: str, *args: Any) -> None:
                """Kept in `Issuer.asked`, not printed."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Whoever asked is gone, or the answer was a reset: that is what some rows are about."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            for issuer in self.issuers.values():
                issuer.release()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def new_issuer(self) -> Issuer:
        path = f"/r/{len(self.issuers) + 1}"
        made = Issuer(f"http://127.0.0.1:{self.port}{path}")
        made.answers = {
            "metadata": Answer.json(made.metadata()),
            "keys": Answer.json({"keys": usual_keys()}),
        }
        self.issuers[path] = made
        return made

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = urlsplit(handler.path).path
        issuer = self.issuers.get("/".join(path.split("/")[:3]))
        below = path[len(urlsplit(issuer.address).path) :] if issuer else path
        name = PATHS.get(below)
        if issuer is None or name is None or name not in issuer.answers:
            _send(handler, Answer.json({"error": "not_found"}, status=404))
            return
        released = issuer.released
        issuer.asked.append(name)
        authorization = handler.headers.get("Authorization")
        if name == "token":
            issuer.faults += exchange_faults(issuer, authorization, body)
        if name == "userinfo" and authorization != f"Bearer {ACCESS_TOKEN}":
            issuer.faults.append("userinfo is asked without the access token")
        scripted = issuer.answers[name]
        answer = scripted() if callable(scripted) else scripted
        if answer.fault == "hang":
            released.wait(HANGS_FOR)
        if answer.fault is not None:
            _reset(handler)
        else:
            _send(handler, answer)


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response(answer.status)
    handler.send_header("Content-Type", answer.type)
    handler.send_header("Content-Length", str(len(answer.body)))
    handler.end_headers()
    handler.wfile.write(answer.body)


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """The connection is torn down, which a client sees as `reset by peer`."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def exchange_faults(issuer: Issuer, authorization: str | None, body: bytes) -> list[str]:
    """What a provider would hold against this exchange (RFC 6749 sections 4.1.3 and 6, RFC 7636)."""
    form = dict(parse_qsl(body.decode()))
    pair = base64.b64encode(f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}".encode()).decode()
    proven = authorization == f"Basic {pair}" or form.get("client_secret") == CLIENT_SECRET
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    login = issuer.logins.get(challenge, {})
    if form.get("grant_type") == "refresh_token":
        good = proven and form.get("refresh_token") == REFRESH_TOKEN and len(form) == 2
        return [] if good else ["the refresh is wrong"]
    wrong = {
        "the grant type": form.get("grant_type") != "authorization_code",
        "the code": form.get("code") != CODE,
        "the PKCE verifier": not login,
        "the redirect URI": form.get("redirect_uri") != login.get("redirect_uri"),
        "the client": not proven,
    }
    return [f"{name} of the exchange is wrong" for name, is_wrong in wrong.items() if is_wrong]
