"""Groups give roles from MLflow 3.12 on; before that the section does nothing, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable

from matrix import Cell

from support.cells import since
from support.provider import Provider
from support.server import MlflowServer

API = "/api/2.0/mlflow"


def test_a_group_gives_a_role_where_mlflow_has_them(
    plain: MlflowServer, cell: Cell, provider: Provider, person: Callable[..., str]
) -> None:
    subject = person()
    made = plain.admin("POST", f"{API}/experiments/create", json={"name": f"roles of {subject}"})
    body = {"experiment_id": made["experiment_id"], "key": "a", "value": "b"}
    issued = int(time.time()) - 100

    def tag(age: int, *groups: str) -> int:
        token = provider.bearer(subject, groups=["MLFLOW", *groups], iat=issued - age)
        return plain.call("POST", f"{API}/experiments/set-experiment-tag", token=token, json=body).status_code

    has_roles = since(cell, "3.12.0")
    assert tag(3) == 403, "everybody has READ"
    assert tag(2, "matrix-writers") == (200 if has_roles else 403)
    assert tag(1) == 403
    told = f"[oidc:roles] is not carried out: MLflow {cell.version} has no roles, 3.12.0 is the first"
    assert (told in plain.log_text()) != has_roles
