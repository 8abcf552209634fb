"""Imports what the wheel brings, and prints what that did: files, threads, modules, entry points, as JSON."""

import json
import sys
import threading

before = set(sys.modules)
opened = []
sys.addaudithook(
    lambda event, args: opened.append(str(args[0])) if event in ("open", "socket.connect") else None
)

import auth.oidc_auth  # noqa: E402
import mlflow_oidc  # noqa: E402
from mlflow_oidc import _native  # noqa: E402

print(
    json.dumps(
        {
            "files": [mlflow_oidc.__file__, auth.oidc_auth.__file__, _native.__file__],
            "same_function": auth.oidc_auth.authenticate_request is mlflow_oidc.authenticate_request,
            "threads": threading.active_count(),
            "modules": sorted(set(sys.modules) - before),
            "databases": [name for name in opened if ".db" in name or ".ini" in name],
        }
    )
)
