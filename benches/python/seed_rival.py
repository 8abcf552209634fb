"""Makes mlflow-oidc-auth's own database: alice after a login, with the same grant as in MLflow's."""

from __future__ import annotations

import login
from cases import ALICE
from pages import EXPERIMENT


def main() -> None:
    import mlflow_oidc_auth.app
    from mlflow_oidc_auth.store import store

    import asgi

    application = asgi.Application(mlflow_oidc_auth.app.app)
    login.rivals(lambda target, sent: application.request("GET", target, sent.items())[:2])
    store.create_experiment_permission(EXPERIMENT, ALICE, "EDIT")


if __name__ == "__main__":
    main()
