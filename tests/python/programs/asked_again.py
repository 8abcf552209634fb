"""MLflow asks our function up to six times in a request: `asked_again.py TOKEN` does it, and prints JSON."""

import json
import sys

from mlflow.server import auth

with auth.app.test_request_context(
    "/api/2.0/mlflow/runs/search",
    method="POST",
    headers={"Host": "127.0.0.1:5000", "Authorization": f"Bearer {sys.argv[1]}"},
):
    from flask import request

    # What MLflow does at the start of a worker, before it serves anything.
    auth.store.init_db(auth.auth_config.database_uri)
    answers = [auth.authenticate_request() for _ in range(6)]
    good = {
        "same": all(answer is answers[0] for answer in answers),
        "kind": type(answers[0]).__name__,
        "username": answers[0].username,
        # MLflow's job submitters read it, and would find nobody for a bearer.
        "of_the_request": request.authorization.username,
    }
with auth.app.test_request_context("/version", headers={"Host": "127.0.0.1:5000"}):
    answers = [auth.authenticate_request() for _ in range(6)]
    bad = {
        "same": all(answer is answers[0] for answer in answers),
        "kind": type(answers[0]).__name__,
        "status": answers[0].status_code,
    }
print(json.dumps({"good": good, "bad": bad}))
