"""What MLflow tells the engine about itself, as one thing that the native module reads member by member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow_oidc.roles import Roles
    from mlflow_oidc.store import Store
    from mlflow_oidc.users import Users


@dataclass(frozen=True)
class Given:
    """The settings of the file, the bootstrap administrator, and the way to each table."""

    ini: list[tuple[str, str]]
    admin_username: str | None
    # The path of MLflow's SQLite file: ours stands beside it. None for a database of a server.
    database: str | None
    database_kind: str
    mlflow_version: str
    users: Users
    # None where this MLflow has none, and why.
    roles: Roles | None
    without_roles: str
    # Our own tables in the database of a server.
    store: Store | None
