"""An `authorization_function` for tests: the real one, whose engine can be thrown away and built anew.

An engine reads its settings once and keeps its provider's metadata for a day, so every row of a table that
spoils one of these needs an engine of its own. Starting a whole MLflow for each would take an hour; this is a
request of 20 ms. `POST /test/engine` with `{"settings": {...}}` replaces every variable of ours, and any that
names a proxy, and drops the engine; with `{"break": true}` the next engine raises, which no input should be
able to cause.
"""

import os

from flask import Response, request

from mlflow_oidc import hook

CONTROL = "/test/engine"


class _Broken:
    def recall(self, *request):
        return None

    def decide(self, *request):
        raise RuntimeError("broken on demand")

    def abandon(self):
        """Nothing to leave alone."""


def authenticate_request():
    if request.path == CONTROL and request.method == "POST":
        return _control(request.get_json())
    return hook.authenticate_request()


def _control(wanted):
    for name in [name for name in os.environ if name.startswith("OIDC_") or name.upper().endswith("_PROXY")]:
        del os.environ[name]
    os.environ.update(wanted.get("settings", {}))
    hook._engine = _Broken() if wanted.get("break") else None
    # MLflow runs its after-request hooks on what is below 400; nothing of its own hangs at this path.
    return Response(status=204)
