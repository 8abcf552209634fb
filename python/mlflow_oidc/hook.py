"""The function that MLflow calls, and nothing that decides: a request is taken apart, an answer put together.

MLflow calls it two to six times in one HTTP request, from a worker thread or, on its FastAPI-native routes,
from the event loop's own thread in a synthetic Flask request. It raises nothing: every fault is a Response.
"""

import configparser
import json
import logging
import os
import threading
from asyncio import _get_running_loop
from pathlib import Path
from typing import Any

from flask import Request, Response, request
from werkzeug.datastructures import Authorization

from mlflow_oidc._native import Decision, Engine
from mlflow_oidc.seldom import Seldom

# The one request to us whose body is read, and how much of it at most, in bytes.
_POSTED_TO = "/oidc/backchannel-logout"
_BODY_LIMIT = 128 * 1024

# Below MLflow's own logger, so that its handler, format and level are ours without any set-up.
logger = logging.getLogger("mlflow.oidc")

_engine: Engine | None = None
# What MLflow asks on the event loop, where it is a database of a server, and its replica for reading.
_servers: tuple[Any, ...] = ()
_engine_lock = threading.Lock()
# On the event loop a thread makes the engine, and the first request waits so many seconds for it, no other
# one does.
_FIRST_PATIENCE = 1.0
_maker: threading.Thread | None = None
_fault: Exception | None = None

# Anybody may cause these, with any request.
_faults = Seldom()
_refused_first = Seldom()
_unchecked = Seldom()

# The request itself: each use of the proxy finds it anew, which would cost more than all the rest here.
_current_request = request._get_current_object  # type: ignore[attr-defined]
_KEPT = "_mlflow_oidc_answer"


class Unavailable(Exception):
    """The database could not be asked while the engine was made; the next request tries again."""


def authenticate_request() -> Authorization | Response:
    """Says who the current Flask request is.

    Returns:
        ``Authorization`` with the ``username`` of a row of MLflow's ``users``, or the ``Response`` to send
        instead. Whoever is not authenticated gets a status of 400 or more on every path that MLflow knows:
        MLflow runs its after-request hooks, which change permissions, on any other answer.
    """
    current = _current_request()
    # The second to sixth caller of the same request must get the same object, and no effect twice.
    kept: dict[str, Any] = current.__dict__
    answer: Authorization | Response | None = kept.get(_KEPT)
    if answer is not None:
        return answer
    try:
        engine = _engine or _engine_of_first_request()
        username = engine.recall(current.method, current.path, current.environ)
        answer = _decide(current, engine) if username is None else _allow(current, username)
        if _servers and isinstance(answer, Authorization) and not _may_be_asked():
            # MLflow asks its database next, and calls the user unknown (401) when it fails.
            answer = _unavailable()
    except Unavailable as fault:
        _refused_first.tell(
            logger.warning,
            "the first request of this worker was refused with database_unavailable: %s",
            fault,
        )
        answer = _unavailable()
    except Exception:
        _faults.tell(logger.exception, "a fault in mlflow-oidc: the request was refused")
        answer = _broken()
    kept[_KEPT] = answer
    return answer


def _may_be_asked() -> bool:
    """Whether MLflow may ask its database now: on the event loop it would wait without a limit, and everybody
    else with it.
    """
    return _get_running_loop() is None or all(server.answers() for server in _servers)


def _decide(current: Request, engine: Engine) -> Authorization | Response:
    decision = engine.decide(
        current.method, current.path, current.environ, _body(current), _get_running_loop() is not None
    )
    return _answer(current, decision)


def _body(current: Request) -> str | None:
    # The body of any other request is MLflow's to read, and reading it here would take it away.
    if current.method != "POST" or not current.path.endswith(_POSTED_TO):
        return None
    # Of a length that is told and small: a body without end would hold a worker.
    if not 0 < (current.content_length or 0) <= _BODY_LIMIT:
        return ""
    try:
        return current.stream.read(_BODY_LIMIT).decode("latin-1")
    except Exception:
        # Each server has classes of its own for a sender who went away or sent nonsense: no fault of ours.
        return ""


def _allow(current: Request, username: str) -> Authorization:
    authorization = Authorization("basic", {"username": username})
    # MLflow's job submitters read the user from here, and would find nobody for a bearer or a cookie.
    current.authorization = authorization
    return authorization


def _answer(current: Request, decision: Decision) -> Authorization | Response:
    username = decision.username
    if username is not None:
        return _allow(current, username)
    if decision.basic is not None:
        return _check_password(current, decision.basic)
    # A list, because Response would otherwise encode the text and count it by itself.
    return Response([decision.body], status=decision.status, headers=decision.headers)


def _check_password(current: Request, header: str) -> Authorization | Response:
    from mlflow.server import auth

    if header != current.environ.get("HTTP_AUTHORIZATION"):
        # At the gateway the credentials for MLflow stand in a header of their own.
        current.authorization = Authorization.from_header(header)
    given = current.authorization
    if given is not None and "\0" in (given.username or ""):
        # No user has such a name: databases and their drivers take it for a fault, each for another one.
        refused: Response = auth.make_basic_auth_response()
        return refused
    if not _may_be_asked():
        return _unavailable()
    try:
        answer: Authorization | Response = auth.authenticate_request_basic_auth()
    except Exception as error:
        if (told := _fault_of_database(error)) is None:
            raise
        _unchecked.tell(
            logger.warning, "a password was refused unchecked with database_unavailable: %s", told
        )
        return _unavailable()
    if not isinstance(answer, Authorization):
        return answer
    engine = _engine or _engine_of_first_request()
    decision = engine.admit_password_user(
        current.method,
        current.path,
        current.environ,
        _get_running_loop() is not None,
        answer.username or "",
    )
    return answer if decision.username is not None else _answer(current, decision)


def _fault_of_database(error: Exception) -> str | None:
    """What may be logged of a fault of MLflow's database; ``None`` of any other one. MLflow wraps them, with
    the driver's words.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from mlflow_oidc.asking import told

    for each in (error, error.__cause__):
        if isinstance(each, SQLAlchemyError):
            return told(each)
    is_told = getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE"
    return type(error).__name__ if is_told else None


def _broken() -> Response:
    body = {
        "error_code": "INTERNAL_ERROR",
        "message": "A fault in mlflow-oidc. [internal]",
        "code": "internal",
    }
    return Response(json.dumps(body), status=500, mimetype="application/json")


def _unavailable() -> Response:
    body = {
        "error_code": "TEMPORARILY_UNAVAILABLE",
        "message": "The database of users cannot be asked now. Try again in a moment. [database_unavailable]",
        "code": "database_unavailable",
    }
    headers = {"Retry-After": "1"}
    return Response(json.dumps(body), status=503, headers=headers, mimetype="application/json")


def _engine_of_first_request() -> Engine:
    """The engine, which the first request of a worker makes.

    Raises:
        Unavailable: The database could not be asked; or, on the event loop, not in time.
        RuntimeError: On the event loop, for anything else that kept a thread from making it.
    """
    global _maker
    if _get_running_loop() is None:
        return _make_engine_once()
    # Nothing here waits for a lock that somebody holds who waits for the database.
    maker = _maker
    if maker is None or not maker.is_alive():
        waits = maker is None
        _maker = maker = threading.Thread(target=_make_in_background, name="mlflow-oidc-engine", daemon=True)
        maker.start()
        if waits:
            maker.join(_FIRST_PATIENCE)
    engine, fault = _engine, _fault
    if engine is not None:
        return engine
    if fault is None:
        raise Unavailable("it did not answer in time")
    # A new one each time: each raise hangs its frames, and with them a whole request, on the object, and
    # anybody may send requests.
    if isinstance(fault, Unavailable):
        raise Unavailable(*fault.args)
    raise RuntimeError("the engine could not be made") from fault


def _make_in_background() -> None:
    global _maker, _fault
    try:
        _make_engine_once()
    except Exception as error:
        _fault = error
    else:
        _maker = _fault = None


def _make_engine_once() -> Engine:
    global _engine
    with _engine_lock:
        if _engine is None:
            _engine = _make_engine()
        return _engine


def _make_engine() -> Engine:
    global _servers
    # Imported here: MLflow, if imported early, reads its configuration and makes its app, and SQLAlchemy
    # takes 100 ms where MLflow has not imported it.
    import mlflow
    from mlflow.server import auth
    from sqlalchemy.exc import SQLAlchemyError

    from mlflow_oidc import early, permissions, releases, roles
    from mlflow_oidc.asking import Database, told
    from mlflow_oidc.given import Given
    from mlflow_oidc.read_only import is_of_a_server
    from mlflow_oidc.store import Store
    from mlflow_oidc.users import Users

    releases.warn(mlflow.__version__)
    early.warn_if_missing(mlflow.__version__)

    path, kind = _database(auth.store.engine)
    try:
        without_roles = roles.missing(auth.store.engine, mlflow.__version__)
    except SQLAlchemyError as error:
        raise Unavailable(told(error)) from None
    # After what may fail: each is kept for the time of a fork.
    database = Database(auth.store.engine)
    # Since MLflow 3.13 there may be a replica that MLflow reads from.
    read_engine = getattr(auth.store, "read_engine", None)
    replica = None if read_engine is None else Database(read_engine)
    store = Store(database) if path is None and is_of_a_server(kind) else None
    _servers = () if store is None else (database,) if replica is None else (database, replica)
    given = Given(
        ini=_section(Path(auth.__file__).parent / "basic_auth.ini"),
        admin_username=auth.auth_config.admin_username,
        database=path,
        database_kind=kind,
        mlflow_version=mlflow.__version__,
        users=Users(auth.store.engine, database, replica),
        roles=None if without_roles else roles.Roles(database),
        without_roles=without_roles or "",
        store=store,
    )
    engine = Engine(given, logger)
    permissions.remember(auth, mlflow.__version__, engine.permission_cache_seconds())
    return engine


def _section(default_path: Path) -> list[tuple[str, str]]:
    """The pairs of ``[oidc]`` in the file that MLflow reads too, and ``[oidc:roles]`` as one of them."""
    # No interpolation: a '%' in a secret is a '%'. And names as they are written: roles have capitals.
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(os.environ.get("MLFLOW_AUTH_CONFIG_PATH") or default_path)
    pairs = _pairs(parser, "oidc")
    if roles := _pairs(parser, "oidc:roles"):
        pairs.append(("roles", "\n".join(f"{name} =\n{value}" for name, value in roles)))
    return pairs


def _pairs(parser: configparser.ConfigParser, section: str) -> list[tuple[str, str]]:
    if not parser.has_section(section):
        return []
    return [(name, value) for name, value in parser.items(section) if name not in parser.defaults()]


def _database(engine: Any) -> tuple[str | None, str]:
    """The absolute path of an SQLite file, and what kind of database it is (without its address).

    One that is neither a file nor a server's, which SQLAlchemy calls SQLite as well, has a kind of more
    words.
    """
    from mlflow_oidc.read_only import plain_file

    path = plain_file(engine)
    kind: str = engine.dialect.name
    if path is None and kind == "sqlite":
        kind = "an SQLite database that is not a plain file"
    return path, kind


def _after_fork() -> None:
    # A child has the parent's memory but not its threads, and must not touch its SQLite connections.
    global _engine, _engine_lock, _servers, _maker, _fault
    if _engine is not None:
        _engine.abandon()
    _engine = _maker = _fault = None
    _servers = ()
    _engine_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
