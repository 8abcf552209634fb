"""An `authorization_function` for tests: the real one, which also tells what of MLflow is wrapped."""

import mlflow
from flask import Response, jsonify, request
from mlflow.server import auth

from mlflow_oidc import hook, look_ups


def authenticate_request():
    answer = hook.authenticate_request()
    if request.path == "/test/wrapped" and not isinstance(answer, Response):
        known = look_ups.of_version(mlflow.__version__).remembered
        names = [name for name in known if name in vars(auth.store)]
        runs = auth._get_tracking_store.__module__ == "mlflow_oidc.runs"
        return jsonify({"store": names, "runs": runs})
    return answer
