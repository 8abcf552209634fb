"""Makes a database of mlflow-oidc-auth's, by mlflow-oidc-auth itself, with people, groups and grants.

python rival_database.py ADDRESS JSON
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """JSON: {"people": {name: {"subject", "groups", "experiments", "models"}}, "groups": {...}}."""
    address, told = sys.argv[1], json.loads(sys.argv[2])
    os.environ["OIDC_USERS_DB_URI"] = address
    from mlflow_oidc_auth.store import store

    # Identities are written by a login, which no test makes here; the table is the package's own.
    store.ping()
    for group, holds in told["groups"].items():
        store.populate_groups([group])
        for number, permission in holds.get("experiments", {}).items():
            store.create_group_experiment_permission(group, number, permission)
        for name, permission in holds.get("models", {}).items():
            store.create_group_model_permission(group, name, permission)
        for pattern, permission in holds.get("patterns", {}).items():
            store.create_group_experiment_regex_permission(group, pattern, 1, permission)
    for name, holds in told["people"].items():
        store.create_user(name, name, is_admin=holds.get("is_admin", False))
        store.set_user_groups(name, holds["groups"])
        for number, permission in holds.get("experiments", {}).items():
            store.create_experiment_permission(number, name, permission)
        for model, permission in holds.get("models", {}).items():
            store.create_registered_model_permission(model, name, permission)
    _identities(address, {name: holds["subject"] for name, holds in told["people"].items()})


def _identities(address: str, subjects: dict[str, str | None]) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(address)
    with engine.begin() as connection:
        for name, subject in subjects.items():
            if subject is not None:
                connection.execute(
                    sqlalchemy.text(
                        "INSERT INTO user_identities (provider_id, subject, user_id)"
                        " SELECT 'default', :subject, id FROM users WHERE username = :name"
                    ),
                    {"subject": subject, "name": name},
                )


if __name__ == "__main__":
    main()
