"""What MLflow itself lets somebody do: roles and grants, read from its tables and never written."""

from typing import Any, NamedTuple

import sqlalchemy

# Since 3.13 every grant hangs on a role, those of a single user on a role of their own; there are roles since
# 3.12.
_GRANTS_ARE_ROLES = (3, 13, 0)
_ROLES_SINCE = (3, 12, 0)
_OWN_ROLE = "__user_{id}__"

_roles = sqlalchemy.table(
    "roles", *(sqlalchemy.column(name) for name in ("id", "name", "workspace", "description"))
)
_permissions = sqlalchemy.table(
    "role_permissions",
    *(sqlalchemy.column(name) for name in ("role_id", "resource_type", "resource_pattern", "permission")),
)
_assignments = sqlalchemy.table(
    "user_role_assignments", *(sqlalchemy.column(name) for name in ("user_id", "role_id"))
)
# The tables of one grant a row, and the columns that say on what.
_SINGLE = {
    "experiment_permissions": ("experiment", ("experiment_id",)),
    "registered_model_permissions": ("registered_model", ("name",)),
    "scorer_permissions": ("scorer", ("experiment_id", "scorer_name")),
    "gateway_secret_permissions": ("gateway_secret", ("secret_id",)),
    "gateway_endpoint_permissions": ("gateway_endpoint", ("endpoint_id",)),
    "gateway_model_definition_permissions": ("gateway_model_definition", ("model_definition_id",)),
    "workspace_permissions": ("workspace", ("workspace",)),
}


class Grant(NamedTuple):
    """One right: on what kind of thing, on which, and how much."""

    kind: str
    pattern: str
    permission: str


class Role(NamedTuple):
    """A role of MLflow's that somebody has."""

    name: str
    workspace: str
    description: str
    grants: list[Grant]


class Rights(NamedTuple):
    """``roles`` is ``None`` where MLflow has none yet (before 3.12)."""

    roles: list[Role] | None
    grants: list[Grant]


def of_user(engine: Any, user_id: int, release: tuple[int, int, int] | None) -> Rights:
    """The roles of an MLflow user, and the grants that they have by themselves.

    Args:
        engine: An SQLAlchemy engine on MLflow's database.
        user_id: The number of the user.
        release: The MLflow that is installed here; it decides which of its tables it reads itself.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database gave no answer.
    """
    there = set(sqlalchemy.inspect(engine).get_table_names())
    has_roles = _assignments.name in there and (release is None or release >= _ROLES_SINCE)
    single = has_roles is False or (release is not None and release < _GRANTS_ARE_ROLES)
    with engine.connect() as connection:
        roles = _roles_of(connection, user_id) if has_roles else None
        grants = list(_single_grants(connection, user_id, there)) if single else []
    own = _OWN_ROLE.format(id=user_id)
    grants += [grant for role in roles or [] if role.name == own for grant in role.grants]
    shared = None if roles is None else [role for role in roles if role.name != own]
    return Rights(shared, sorted(grants))


def _roles_of(connection: Any, user_id: int) -> list[Role]:
    query = (
        sqlalchemy.select(*_roles.c)
        .join_from(_assignments, _roles, _roles.c.id == _assignments.c.role_id)
        .where(_assignments.c.user_id == user_id)
        .order_by(_roles.c.workspace, _roles.c.name)
    )
    found = connection.execute(query).fetchall()
    held: dict[int, list[Grant]] = {row.id: [] for row in found}
    query = sqlalchemy.select(*_permissions.c).where(_permissions.c.role_id.in_(list(held)))
    for row in connection.execute(query):
        held[row.role_id].append(Grant(row.resource_type, row.resource_pattern, row.permission))
    return [Role(row.name, row.workspace, row.description or "", sorted(held[row.id])) for row in found]


def _single_grants(connection: Any, user_id: int, there: set[str]) -> Any:
    for name in sorted(_SINGLE.keys() & there):
        kind, columns = _SINGLE[name]
        table = sqlalchemy.table(name, *(sqlalchemy.column(c) for c in (*columns, "user_id", "permission")))
        for row in connection.execute(sqlalchemy.select(table).where(table.c.user_id == user_id)):
            yield Grant(kind, "/".join(str(row[place]) for place in range(len(columns))), row.permission)
