"""oidc-provider-mock over HTTP on a loopback port: it can be stopped and started again with the same key."""

from __future__ import annotations

import io
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import flask
import requests
import werkzeug.serving

from support import ports, tokens

# The mock speaks plain http on loopback, which its library refuses without this.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import oidc_provider_mock

CLIENT_ID = "mlflow"
CLIENT_SECRET = "client-secret-that-nobody-may-read"


class _QuietHandler(werkzeug.serving.WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """The mock's access log is kept in `Provider.requests`, not printed between the tests' dots."""


class Provider:
    """The provider, the people it knows, and what it was asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, ports.free(host)
        self.issuer = ports.origin(host, self.port)
        self.requests: list[dict[str, Any]] = []
        # What the token endpoint answered, the newest last.
        self.issued: list[dict[str, Any]] = []
        self._app = oidc_provider_mock.app()
        self._server: werkzeug.serving.BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        with self._app.test_request_context():
            self._app.preprocess_request()
            jwk = flask.g.oidc_provider_mock_storage.jwk
            self.key = tokens.Key(jwk.get_private_key(), jwk.as_dict()["kid"])

    def start(self) -> Provider:
        assert self._server is None, "the provider runs already"
        self._server = werkzeug.serving.make_server(
            self.host, self.port, self._recorded, threaded=True, request_handler=_QuietHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        assert self._thread is not None
        self._thread.join(5)
        self._server = None

    def put_user(self, subject: str, **claims: Any) -> str:
        """Makes or changes a person; by default an e-mail address made of the subject and the user group."""
        known = {"email": f"{subject}@example.org", "groups": ["MLFLOW"], **claims}
        known = {name: value for name, value in known.items() if value is not None}
        answer = self._call("PUT", f"/users/{subject}", json=known)
        assert answer.status_code == 204, answer.text
        return str(known.get("email", subject))

    def id_token(self, subject: str, audience: str = CLIENT_ID) -> str:
        """A real ID token of the provider's own making, by a code flow that this process runs as client."""
        callback = "http://127.0.0.1/never-called"
        query = {"response_type": "code", "client_id": audience, "redirect_uri": callback}
        query["scope"] = "openid email profile"
        answer = self._call("POST", f"/oauth2/authorize?{urlencode(query)}", data={"sub": subject})
        assert answer.status_code == 302, answer.text
        code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback}
        answer = self._call("POST", "/oauth2/token", data=form, auth=(audience, CLIENT_SECRET))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id_token"])

    def bearer(self, subject: str, audience: Any = CLIENT_ID, **changes: Any) -> str:
        """A token with any claims, signed by the provider's own key."""
        return self.key.token(tokens.bearer_claims(self.issuer, subject, audience, **changes))

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["path"] == path]

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.issuer + path, allow_redirects=False, timeout=20, **arguments)

    def _recorded(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The mock itself, with every question noted and every token it hands out remembered."""
        form: dict[str, str] = {}
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            form = dict(parse_qsl(body.decode()))
        path = environ["PATH_INFO"]
        self.requests.append(
            {
                "method": environ["REQUEST_METHOD"],
                "path": path,
                "query": dict(parse_qsl(environ["QUERY_STRING"])),
                "form": form,
                "authorization": environ.get("HTTP_AUTHORIZATION"),
            }
        )
        chunks: Iterable[bytes] = self._app.wsgi_app(environ, start_response)
        if path != "/oauth2/token":
            return chunks
        body = b"".join(chunks)
        self.issued.append(json.loads(body))
        for name in ("id_token", "access_token", "refresh_token"):
            if token := self.issued[-1].get(name):
                tokens.remember(token)
        return [body]
