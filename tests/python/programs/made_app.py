"""MLflow's auth app, made as a server worker makes it: `made_app.py SERVER [NAME-TO-REMOVE]` prints one JSON.

SERVER is what MLflow tells its workers (uvicorn, gunicorn). `without-hook` as the name pretends that our
entry point was not loaded, `imported-first` imports its module before MLflow; any other is taken out of
mlflow.server.auth, as if MLflow no longer had it.
"""

import asyncio
import json
import os
import sys
import types

os.environ["_MLFLOW_SGI_NAME"] = sys.argv[1]
remove = sys.argv[2] if len(sys.argv) > 2 else None
if remove == "without-hook":
    stub = types.ModuleType("mlflow_oidc.early")
    stub.NoContext = type("NoContext", (), {"in_context": lambda self: False})
    sys.modules["mlflow_oidc.early"] = stub

if remove == "imported-first":
    import mlflow_oidc.early  # noqa: F401

import mlflow  # noqa: E402

loaded_early = "mlflow_oidc.early" in sys.modules and "mlflow.server.auth" not in sys.modules
if remove == "without-hook":
    del sys.modules["mlflow_oidc.early"]

from mlflow.server import auth  # noqa: E402

if remove not in (None, "without-hook", "imported-first"):
    delattr(auth, remove)
made = auth.create_app()

answers = []


async def asked(path: str) -> None:
    """One anonymous POST; what was answered is put into `answers`."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:5000"), (b"x-mlflow-experiment-id", b"0")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 5000),
    }

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            answers.append([message["status"], ""])
        else:
            answers[-1][1] += message.get("body", b"").decode()

    await made(scope, receive, send)


kind = type(made).__name__
if kind == "FastAPI":
    asyncio.run(asked("/v1/traces"))
# Flask as well, where a worker first asks our function.
with auth.app.test_client() as client:
    answers.append([client.get("/version").status_code, ""])
bridge = sys.modules.get("mlflow_oidc.bridge")
print(
    json.dumps(
        {
            "mlflow": mlflow.__version__,
            "loaded_early": loaded_early,
            "kind": kind,
            "active": bridge is not None and bridge.active(),
            "patched": "mlflow_oidc" in getattr(auth.create_fastapi_app, "__module__", "")
            if hasattr(auth, "create_fastapi_app")
            else False,
            "answers": answers,
        }
    )
)
