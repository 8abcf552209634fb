"""Every route of this MLflow's basic-auth app, Flask's and the native ones, as JSON: [[method, path]]."""

import json

from flask import Flask
from mlflow.server import app as flask_app
from mlflow.server.auth import create_app


def native(routes, prefix=""):
    """Newer FastAPI keeps an included router as one entry, with its routes inside."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from native(inner.routes, prefix + route.include_context.prefix)
        for method in getattr(route, "methods", None) or ():
            yield method, prefix + route.path


made = create_app()
found = set()
for rule in flask_app.url_map.iter_rules():
    found |= {(method, rule.rule.replace("<", "{").replace(">", "}")) for method in rule.methods}
if not isinstance(made, Flask):
    found |= set(native(made.routes))
print(json.dumps(sorted(found)))
