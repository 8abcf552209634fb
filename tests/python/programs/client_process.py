"""A plain client of MLflow beside which mlflow-oidc is installed: what of ours is in its process, as JSON."""

import json
import sys

import mlflow
from mlflow.tracking.context.registry import resolve_tags

print(
    json.dumps(
        {
            "version": mlflow.__version__,
            "ours": sorted(name for name in sys.modules if name.startswith("mlflow_oidc")),
            "server": [name for name in ("mlflow.server", "mlflow.server.auth") if name in sys.modules],
            "tags": [name for name in resolve_tags() if "oidc" in name.lower()],
        }
    )
)
