"""The native module by itself: lazy, one engine per process, nothing raised."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from mlflow_oidc import hook
from mlflow_oidc._native import Engine
from mlflow_oidc.given import Given
from support import venvs

ISSUER = [
    ("issuer_url", "http://127.0.0.1:9/"),
    ("client_id", "mlflow"),
    ("client_secret", "not-a-secret-0000"),
]


class NoUsers:
    """An adapter to a table without anybody in it."""

    def find(self, username: str, waits: bool = True) -> None:
        return None


def request(
    path: str = "/api/2.0/mlflow/experiments/search", authorization: str | None = None, loop: bool = False
) -> tuple[str, str, dict[str, Any], str | None, bool]:
    environ = {"wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:5000"}
    if authorization is not None:
        environ["HTTP_AUTHORIZATION"] = authorization
    return ("POST", path, environ, None, loop)


def make_engine(folder: Path, ini: list[tuple[str, str]] = ISSUER) -> Engine:
    logger = logging.getLogger("test.native")
    database = str(folder / "basic_auth.db")
    return Engine(Given(ini, "admin", database, "sqlite", "3.17.2", NoUsers(), None, "", None), logger)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_making_an_engine_starts_no_thread_and_touches_no_file(tmp_path: Path) -> None:
    before = threads()
    make_engine(tmp_path)
    assert threads() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", venvs.VERSIONS)
def test_importing_the_shim_starts_no_thread_and_does_not_import_mlflow(version: str) -> None:
    venvs.require(version)
    program = """
        import os, sys
        import flask, sqlalchemy
        before = len(os.listdir('/proc/self/task'))
        import auth.oidc_auth, mlflow_oidc
        assert auth.oidc_auth.authenticate_request is mlflow_oidc.authenticate_request
        assert len(os.listdir('/proc/self/task')) == before
        assert 'mlflow' not in sys.modules
    """
    subprocess.run([venvs.program(version, "python"), "-c", textwrap.dedent(program)], check=True)


def test_a_request_that_is_not_text_raises_before_anything_is_decided(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    with pytest.raises(TypeError):
        engine.decide(1, "/", {}, None, False)  # type: ignore[arg-type]
    # A header that cannot be read must not count as one that was not sent: the cookie would take its place.
    with pytest.raises(TypeError):
        engine.decide("GET", "/", {"HTTP_AUTHORIZATION": b"Bearer x"}, None, False)
    with pytest.raises(UnicodeEncodeError):
        engine.decide("GET", "/", {"HTTP_AUTHORIZATION": "Bearer \ud800"}, None, False)


def test_a_broken_configuration_is_an_answer_and_names_every_fault(tmp_path: Path) -> None:
    decision = make_engine(
        tmp_path, [("issuer_url", "http://idp.example.com"), ("http_timeout", "x")]
    ).decide(*request())
    assert decision.status == 500
    for key in ("[oidc] issuer_url", "OIDC_CLIENT_ID", "[oidc] http_timeout"):
        assert key in decision.body.decode()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_an_engine_of_its_own_and_leaves_the_parents_alone(tmp_path: Path) -> None:
    parent = make_engine(tmp_path)
    assert parent.decide(*request()).status == 401
    child = os.fork()
    if child == 0:
        parent.abandon()
        own = make_engine(tmp_path)
        # It builds threads and connections of its own.
        os._exit(0 if own.decide(*request()).status == 401 and threads() > 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert parent.decide(*request()).status == 401


@pytest.mark.parametrize("seconds", ["0.2", "60"])
def test_a_process_that_ends_waits_a_moment_for_our_thread_in_the_interpreter(
    tmp_path: Path, seconds: str
) -> None:
    """The thread would be unwound, through frames of Rust, and the whole process ended with SIGABRT."""
    program = Path(__file__).parent / "programs" / "end_inside.py"
    # A server has to stop also while its database hangs.
    ended = subprocess.run([sys.executable, program, tmp_path, seconds], timeout=30, capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("fault", [hook.Unavailable("OperationalError"), ValueError("no such thing")])
def test_requests_that_wait_for_the_engine_hang_nothing_on_the_fault_of_the_last_try(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Anonymous ones would fill the memory: each raise of one exception adds two frames and a request."""
    is_over = threading.Event()
    maker = threading.Thread(target=is_over.wait, daemon=True)
    maker.start()
    monkeypatch.setattr(hook, "_engine", None)
    monkeypatch.setattr(hook, "_maker", maker)
    monkeypatch.setattr(hook, "_fault", fault)
    app = Flask("test")
    statuses = set()

    async def ask() -> None:
        for _ in range(5):
            with app.test_request_context("/ajax-api/3.0/x"):
                statuses.add(getattr(hook.authenticate_request(), "status_code", None))

    asyncio.run(ask())
    is_over.set()
    assert statuses == {503 if isinstance(fault, hook.Unavailable) else 500}
    assert fault.__traceback__ is None
    assert fault.__context__ is None
