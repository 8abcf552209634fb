"""What the demo prints for pasting into a shell: two ways in for programs. Its check runs the same texts."""

from __future__ import annotations

import shlex
import sys

from mlflow_oidc.demo_servers import Servers


def python(servers: Servers, token: str) -> str:
    """A run with a metric and an artifact."""
    return f"""\
{shlex.quote(sys.executable)} - <<'EOF'
import os
os.environ["MLFLOW_TRACKING_URI"] = "{servers.mlflow}"
os.environ["MLFLOW_TRACKING_TOKEN"] = "{token}"
import mlflow
mlflow.set_experiment("from Python")
with mlflow.start_run() as run:
    mlflow.log_metric("accuracy", 0.93)
    mlflow.log_text("logged with a bearer token", "hello.txt")
print("logged run", run.info.run_id)
EOF"""


def curl(servers: Servers, token: str) -> str:
    """The experiments that the person sees."""
    url = f"{servers.mlflow}/api/2.0/mlflow/experiments/search?max_results=10"
    return f"curl -H 'Authorization: Bearer {token}' '{url}'"
