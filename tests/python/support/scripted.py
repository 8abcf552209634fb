"""A provider that misbehaves on demand, for what oidc-provider-mock will not do.

It starts as a good provider. A test replaces one of its answers: `provider.answers["/token"] = Answer(...)`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from support import ports, tokens
from support.provider import CLIENT_ID


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    # Seconds before the first byte: a provider that hangs.
    after: float = 0

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class ScriptedProvider:
    """Discovery, keys and tokens under one issuer, each of them replaceable, all of them counted."""

    def __init__(self) -> None:
        self.port = ports.free()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.key = tokens.Key.rsa()
        self.answers: dict[str, Answer | Callable[[], Answer]] = {}
        self.seen: list[str] = []
        # What the next ID token says, beside or instead of what a good one would.
        self.claims: dict[str, Any] = {}
        self.nonce = ""
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> ScriptedProvider:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self)

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                assert dict(parse_qsl(form.decode()))
                provider._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Kept in `seen`, not printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def count(self, path: str) -> int:
        return self.seen.count(path)

    def discovery(self, **changes: Any) -> dict[str, Any]:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return {**document, **changes}

    def id_token(self, subject: str = "alice") -> str:
        claims = tokens.bearer_claims(self.issuer, subject, CLIENT_ID, nonce=self.nonce)
        return self.key.token({k: v for k, v in {**claims, **self.claims}.items() if v is not None})

    def token_answer(self, **changes: Any) -> Answer:
        body = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, **changes}
        return Answer(body={"id_token": self.id_token(), **body} if "id_token" not in changes else body)

    def _default(self, path: str) -> Answer:
        if path == "/.well-known/openid-configuration":
            return Answer(body=self.discovery())
        if path == "/jwks":
            return Answer(body={"keys": [self.key.public_jwk()]})
        if path == "/token":
            return self.token_answer()
        return Answer(404, {"error": "not_found"})

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        self.seen.append(path)
        # An answer for the very query goes before the one for the path.
        scripted = self.answers.get(handler.path, self.answers.get(path))
        answer = scripted() if callable(scripted) else scripted or self._default(path)
        time.sleep(answer.after)
        body = answer.encoded()
        try:
            handler.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            """Who asked did not wait for the end: that is what some tests are about."""
