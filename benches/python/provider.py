"""A small OpenID provider on loopback: whoever signs in is alice, and it counts who asks it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from keys import CLIENT_ID, SUBJECT, Key, claims, username

Flat = dict[str, str]

CONFIGURATION = "/.well-known/openid-configuration"


class Provider:
    """Answers from `with` on; `asked` counts the requests of each path."""

    def __init__(self, signing: dict[str, Key], more_keys: tuple[Key, ...] = ()) -> None:
        self.signing = signing
        self.key_set = json.dumps({"keys": [key.jwk for key in (*more_keys, *signing.values())]})
        self.asked: Counter[str] = Counter()
        self.subject = SUBJECT
        # What its tokens tell; those of `keys.claims` where nothing else is set.
        self.groups: list[str] | None = None
        # Seconds before each answer, and for how long the keys are said to be good.
        self.keys_for = 3600
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _configuration(self) -> dict[str, Any]:
        at = self.issuer
        return {
            "issuer": at,
            "authorization_endpoint": f"{at}/authorize",
            "token_endpoint": f"{at}/token",
            "userinfo_endpoint": f"{at}/userinfo",
            "jwks_uri": f"{at}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted(self.signing),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "grant_types_supported": ["authorization_code"],
            "scopes_supported": ["openid", "email", "profile"],
        }

    def authorized(self, query: dict[str, str]) -> str:
        """Where somebody who has signed in is sent back to."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = {**query, "sub": self.subject}
        onward = {"code": code, "state": query["state"]}
        return f"{query['redirect_uri']}?{urlencode(onward)}"

    def _token(self, form: dict[str, str]) -> dict[str, Any] | None:
        attempt = self._codes.pop(form.get("code", ""), None)
        if attempt is None or not _proved(attempt, form):
            return None
        key = self.signing["RS256"]
        told = {} if self.groups is None else {"groups": self.groups}
        access = claims(self.issuer, attempt["sub"], **told)
        identity = claims(
            self.issuer, attempt["sub"], **told, auth_time=int(time.time()), nonce=attempt.get("nonce")
        )
        return {
            "access_token": key.token(access),
            "id_token": key.token({name: value for name, value in identity.items() if value is not None}),
            "token_type": "Bearer",
            "expires_in": access["exp"] - access["iat"],
            "scope": "openid email profile",
        }

    def _answer(
        self, path: str, query: dict[str, str], form: dict[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        if path == CONFIGURATION:
            return 200, self._configuration(), {}
        if path == "/keys":
            return 200, self.key_set, {"Cache-Control": f"max-age={self.keys_for}"}
        if path == "/authorize" and query.get("client_id") == CLIENT_ID:
            return 302, "", {"Location": self.authorized(query)}
        if path == "/userinfo":
            return 200, {"sub": self.subject, "email": username(self.subject)}, {}
        if path == "/token" and (tokens := self._token(form)):
            return 200, tokens, {"Cache-Control": "no-store"}
        return 400, {"error": "invalid_request"}, {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet and at once: else Nagle's algorithm and the client's delayed
            # acknowledgement would make each second answer on a connection 40 ms late.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._serve({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                self._serve(_flat(body))

            def _serve(self, form: dict[str, str]) -> None:
                parts = urlsplit(self.path)
                provider.asked[parts.path] += 1
                status, content, headers = provider._answer(parts.path, _flat(parts.query), form)
                body = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                # Whoever has waited too long is gone.
                with suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(body)
                    self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Nothing: the table is what this program prints."""

        return Handler


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}


def _proved(attempt: dict[str, str], form: dict[str, str]) -> bool:
    """PKCE, so that a login that works here is a whole one."""
    if "code_challenge" not in attempt:
        return True
    digest = sha256(form.get("code_verifier", "").encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode() == attempt["code_challenge"]
