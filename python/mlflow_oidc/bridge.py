"""The guard of the routes that never pass Flask, for MLflow 3.4 to 3.14 under uvicorn.

What MLflow itself does there, measured with a custom ``authorization_function``: up to 3.8 nothing, so that
anybody may write traces and read jobs; 3.9 guards the gateway alone; from 3.9 (the gateway) or 3.10 (all) on
it answers 500. From 3.15 on it asks the function in a Flask request made for that, and so it is done here.

The guard stands at the door of each route and not, as MLflow's middleware does, in front of the router with a
list of paths: whatever spelling of path or Host leads to a route, leads through its door. All that is not the
mounted Flask app is guarded; none of these releases has a public route beside it.
"""

import contextvars
import json
import logging
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from flask import Flask, Response
from starlette.middleware.wsgi import build_environ
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.responses import Response as Answer
from starlette.routing import Mount
from werkzeug.datastructures import Authorization

logger = logging.getLogger("mlflow.oidc")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Handle = Callable[[Scope, Receive, Send], Awaitable[None]]

# Under which names basic_auth.ini may name our function.
_OURS = ("auth.oidc_auth", "mlflow_oidc", "mlflow_oidc.hook")
# What MLflow's auth app must have for us to do our work in it.
_NEEDED = ("app", "auth_config", "authenticate_request", "get_auth_func", "store")
_CHECKS = ("add_fastapi_permission_middleware", "_find_fastapi_validator")

_active = False


def active() -> bool:
    """Whether an app of this process has its native routes guarded."""
    return _active


def install(auth: ModuleType, checks: bool) -> None:
    """Puts the guard into the apps that ``mlflow.server.auth`` will make. Where it cannot, none is made.

    Takes that module and whether this release has permission checks on native routes.
    """
    names = vars(auth)
    make, add = auth.create_fastapi_app, names.get("add_fastapi_permission_middleware")

    def create_fastapi_app(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        if _is_ours(auth):
            guard(auth, made, checks)
        return made

    def add_fastapi_permission_middleware(app: Any) -> None:
        # It would answer 500 for our function, and its checks are made at the door.
        if not _is_guarded(app) and add is not None:
            add(app)

    names["create_fastapi_app"] = create_fastapi_app
    if checks:
        names["add_fastapi_permission_middleware"] = add_fastapi_permission_middleware


def guard(auth: ModuleType, app: Any, checks: bool) -> None:
    """Guards every route of an app but the mounted Flask app. Without what it needs, they are all refused."""
    global _active
    missing = [name for name in (*_NEEDED, *(_CHECKS if checks else ())) if not hasattr(auth, name)]
    judge: Judge = _Bridge(auth, checks) if not missing else _refuse
    for route in app.router.routes:
        if not _is_flask(route):
            route.handle = _door(judge, route.handle)
    app.state.mlflow_oidc = True
    _active = True
    if missing:
        told = "mlflow-oidc does not know this mlflow.server.auth without %s: its native routes are refused"
        logger.error(told, ", ".join(missing))
    else:
        logger.info("mlflow-oidc guards the native routes of this MLflow")


def _is_guarded(app: Any) -> bool:
    return getattr(app.state, "mlflow_oidc", False) is True


def _is_flask(route: Any) -> bool:
    return isinstance(route, Mount) and isinstance(getattr(route.app, "app", None), Flask)


def _is_ours(auth: ModuleType) -> bool:
    function: str = auth.auth_config.authorization_function
    module, _, name = function.partition(":")
    if module not in _OURS or name != "authenticate_request":
        return False
    try:
        from mlflow_oidc.hook import authenticate_request

        # Another package may have a module auth.oidc_auth: the function that ours comes from has.
        return auth.get_auth_func(function) is authenticate_request
    except Exception:
        # Then each request fails, and the native ones have to fail as well.
        logger.exception("the authorization_function %s cannot be loaded", function)
        return True


Judge = Callable[[Request], Awaitable[Answer | None]]


def _door(judge: Judge, handle: Handle) -> Handle:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # MLflow has no other kind; 1008 is "policy violation" (RFC 6455 section 7.4.1).
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            # MLflow's checks leave a body that they have read in the state of the request, for the route.
            refusal = await judge(Request(scope, receive))
        except Exception:
            logger.exception("a fault in mlflow-oidc: the request was refused")
            refusal = _error(500, "INTERNAL_ERROR", "A fault in mlflow-oidc. [internal]")
        await (handle if refusal is None else refusal)(scope, receive, send)

    return guarded


class _Bridge:
    """Asks our function as MLflow does, and MLflow's own checks with the user whom it names."""

    def __init__(self, auth: ModuleType, checks: bool) -> None:
        self._auth = auth
        self._find: Any = vars(auth)["_find_fastapi_validator"] if checks else None

    async def __call__(self, request: Request) -> Answer | None:
        """What to answer instead of the route; ``None`` when it may go on."""
        # A copy of the context: at the end of a Flask request MLflow forgets the workspace of the real one.
        said = contextvars.copy_context().run(self._ask, request)
        if isinstance(said, Response):
            return _converted(said)
        if not isinstance(said, Authorization):
            raise TypeError(f"authenticate_request gave a {type(said).__name__}")
        from mlflow.exceptions import MlflowException

        try:
            user = self._auth.store.get_user(said.username)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                return _error(503, error.error_code, "MLflow's database cannot be asked now.")
            return _error(401, "UNAUTHENTICATED", "This user is not in MLflow's database.")
        request.state.username, request.state.user_id = user.username, user.id
        if user.is_admin or self._find is None:
            return None
        validator = self._find(_path(request))
        if validator is None:
            return None
        try:
            allowed = await validator(user.username, request)
        except MlflowException as error:
            return PlainTextResponse(error.message, status_code=error.get_http_status_code())
        return None if allowed else PlainTextResponse("Permission denied", status_code=403)

    def _ask(self, request: Request) -> Any:
        # As the mounted Flask app would get it, but without the body, which is the route's to read.
        environ = build_environ(request.scope, b"")
        with self._auth.app.request_context(environ):
            return self._auth.authenticate_request()


async def _refuse(request: Request) -> Answer:
    return _error(500, "INTERNAL_ERROR", "mlflow-oidc cannot guard this route of this MLflow. [internal]")


def _path(request: Request) -> str:
    """The path by which the route was found."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))


def _converted(said: Response) -> Answer:
    answer = Answer(said.get_data(), status_code=said.status_code)
    for name, value in said.headers:
        if name.lower() not in ("content-length", "transfer-encoding"):
            answer.headers.append(name, value)
    return answer


def _error(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"error_code": code, "message": message})
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status, {})
    return Answer(body, status_code=status, headers=headers, media_type="application/json")
