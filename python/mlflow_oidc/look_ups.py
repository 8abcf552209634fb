"""The one table of what is wrapped of MLflow's own look-ups, version by version.

A method stands here only where its source was read and its answer depends on its arguments and on the auth
database alone: on no workspace of the request, no setting, no clock. It writes nothing, checks no password.
A version between two rows, or newer than the last one, is left untouched.
"""

import re
from typing import NamedTuple


class LookUps(NamedTuple):
    """One closed range of versions."""

    first: tuple[int, int, int]
    last: tuple[int, int, int]
    # Methods of mlflow.server.auth's store, remembered until the database changes.
    remembered: tuple[str, ...]
    # Whether mlflow.server.auth reads whole runs only to learn their experiments.
    runs: bool


_GRANTS = (
    "get_user",
    "get_experiment_permission",
    "list_experiment_permissions",
    "get_registered_model_permission",
    "list_registered_model_permissions",
)
# From 3.10 to 3.12 what concerns registered models depends on the workspace of the request.
_GRANTS_AND_WORKSPACES = (
    "get_user",
    "get_experiment_permission",
    "list_experiment_permissions",
    "get_workspace_permission",
    "list_accessible_workspace_names",
)
_ROLES = (
    "get_role_permission_for_resource",
    "list_role_grants_for_user_in_workspace",
    "is_workspace_admin",
    "list_workspace_admin_workspaces",
)
_LIST_GRANTS = (
    "get_user",
    "list_grants",
    "list_accessible_workspace_names",
    "is_workspace_admin",
    "list_workspace_admin_workspaces",
)

TABLE = (
    LookUps((2, 9, 0), (2, 22, 5), _GRANTS, runs=True),
    LookUps((3, 0, 0), (3, 6, 0), _GRANTS, runs=True),
    LookUps((3, 7, 0), (3, 8, 1), (*_GRANTS, "get_scorer_permission"), runs=True),
    LookUps(
        (3, 9, 0),
        (3, 9, 0),
        (*_GRANTS, "get_scorer_permission", "get_gateway_endpoint_permission"),
        runs=True,
    ),
    LookUps((3, 10, 0), (3, 11, 1), _GRANTS_AND_WORKSPACES, runs=True),
    LookUps((3, 12, 0), (3, 12, 0), (*_GRANTS_AND_WORKSPACES, *_ROLES), runs=True),
    LookUps((3, 13, 0), (3, 16, 1), ("get_user", "list_accessible_workspace_names", *_ROLES), runs=True),
    LookUps((3, 17, 0), (3, 17, 2), _LIST_GRANTS, runs=True),
    # Read only: there it also looks at the class of the tracking store, which has to stay what it is.
    LookUps((3, 18, 0), (3, 18, 0), _LIST_GRANTS, runs=False),
)


def of_version(version: str) -> LookUps | None:
    """The row of an MLflow version; ``None`` for one that nobody has looked at, and for no whole release."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return None
    major, minor, patch = (int(part) for part in version.split("."))
    return next((row for row in TABLE if row.first <= (major, minor, patch) <= row.last), None)
