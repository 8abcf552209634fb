"""WSGI environs as MLflow's server makes them from the requests of its Python client and of a browser."""

from __future__ import annotations

import io
import sys
from typing import Any

HOST = "127.0.0.1:5000"
PROGRAM = {
    "HTTP_USER_AGENT": "mlflow-python-client/3.17.2",
    "HTTP_ACCEPT": "*/*",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate",
    "HTTP_CONNECTION": "keep-alive",
}
# A script of MLflow's own page.
PAGE = {
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
    "HTTP_ACCEPT": "application/json",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.9",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_SEC_FETCH_DEST": "empty",
    "HTTP_SEC_FETCH_MODE": "cors",
    "HTTP_SEC_FETCH_SITE": "same-origin",
    "HTTP_REFERER": f"http://{HOST}/",
}


def environ(
    method: str = "GET",
    target: str = "/api/2.0/mlflow/experiments/get?experiment_id=0",
    body: bytes = b"",
    **headers: str,
) -> dict[str, Any]:
    """One request of a program, or of a page where it has a cookie."""
    path, _, query = target.partition("?")
    base: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": HOST,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **(PAGE if "HTTP_COOKIE" in headers else PROGRAM),
        **headers,
    }
    if body:
        base |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    return base


def bearer(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def cookie(value: str) -> dict[str, str]:
    return {"HTTP_COOKIE": value}
