"""Reads the database of mlflow-oidc-auth and says what of it becomes mlflow-oidc's and MLflow's own.

    carry_over.py ADDRESS roles          grants of groups, as lines of [oidc:roles]
    carry_over.py ADDRESS people         accounts, as commands `mlflow-oidc users link`
    carry_over.py ADDRESS grants URL     grants of single users, given through MLflow's REST API
    carry_over.py ADDRESS rest           what has no equal, for a decision by hand

ADDRESS is OIDC_USERS_DB_URI, for example sqlite:///auth.db; it is only read. For `grants` the administrator's
name and password are in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. Tried with mlflow-oidc-auth
11.0.2 and MLflow 3.17.2; see docs/leaving-mlflow-oidc-auth.md.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import requests
import sqlalchemy

# What is granted on one thing: the table for groups and the one for users, the column that names the thing,
# and MLflow's kind.
SINGLE = (
    ("experiment_group_permissions", "experiment_permissions", "experiment_id", "experiment"),
    ("registered_model_group_permissions", "registered_model_permissions", "name", "registered_model"),
)
# What it forbids, MLflow forbids since 3.17.
FORBIDS = {"NO_PERMISSIONS": "DENY"}


class Grant(NamedTuple):
    who: str
    workspace: str
    kind: str
    thing: str
    permission: str


def main(words: list[str]) -> int:
    asked = words[1] if len(words) > 1 else None
    if asked not in ("roles", "people", "grants", "rest") or len(words) != 2 + (asked == "grants"):
        print(__doc__, file=sys.stderr)
        return 2
    engine = sqlalchemy.create_engine(words[0])
    with engine.connect() as rival:
        if asked == "grants":
            return give(list(grants(rival, "user")), words[2])
        print("\n".join({"roles": roles, "people": people, "rest": rest}[asked](rival)))
    return 0


def grants(rival: sqlalchemy.Connection, whose: str) -> Iterator[Grant]:
    """What groups (`group`) or single users (`user`) may do with one thing."""
    owners, name = ("groups", "group_name") if whose == "group" else ("users", "username")
    for of_groups, of_users, column, kind in SINGLE:
        table = of_groups if whose == "group" else of_users
        columns = {each["name"] for each in sqlalchemy.inspect(rival).get_columns(table)}
        workspace = "g.workspace" if "workspace" in columns else "NULL"
        prompt = "g.prompt" if "prompt" in columns else "0"
        query = sqlalchemy.text(
            f"SELECT o.{name}, {workspace}, g.{column}, g.permission, {prompt} FROM {table} g"
            f" JOIN {owners} o ON o.id = g.{whose}_id ORDER BY 1, 2, 3"
        )
        for who, space, thing, permission, is_prompt in rival.execute(query):
            found = ["prompt" if is_prompt else kind]
            if table == "registered_model_permissions":
                # For single users a prompt and a model of one name are one row there.
                found.append("prompt")
            for each in found:
                yield Grant(who, space or "default", each, thing, FORBIDS.get(permission, permission))


def roles(rival: sqlalchemy.Connection) -> Iterator[str]:
    """One role for each group and workspace; a role's name has letters, digits and . _ - only."""
    held: dict[tuple[str, str], list[Grant]] = {}
    for grant in grants(rival, "group"):
        held.setdefault((grant.workspace, grant.who), []).append(grant)
    taken: set[str] = set()
    yield "[oidc:roles]"
    for (workspace, group), given in sorted(held.items()):
        # A name with the end of a line in it would write lines of its own, one with a star be a pattern.
        lines = (group, *(grant.thing for grant in given))
        if "*" in group or not all(text.isprintable() for text in lines):
            yield f"# left out, by hand: the group {group!r} and its {len(given)} grants"
            continue
        name = base = f"{workspace}/{re.sub(r'[^A-Za-z0-9._-]+', '-', group).strip('-') or 'group'}"
        number = 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        yield f"{name} ="
        yield f"    group {group}"
        yield from (f"    {grant.kind} {grant.thing} {grant.permission}" for grant in given)


def people(rival: sqlalchemy.Connection) -> Iterator[str]:
    """Accounts whose subject is known can have their grants before they sign in for the first time."""
    query = sqlalchemy.text(
        "SELECT u.username, u.is_service_account, min(i.subject), count(i.id) FROM users u"
        " LEFT JOIN user_identities i ON i.user_id = u.id AND i.provider_id = 'default'"
        " GROUP BY u.username, u.is_service_account ORDER BY u.username"
    )
    for username, is_service, subject, count in rival.execute(query):
        if count == 1:
            words = ["mlflow-oidc", "users", "link", username, "--subject", subject, "--make"]
            yield shlex.join(words)
        else:
            why = "a service account" if is_service else f"{count} subjects are known"
            yield f"# {username!r}: {why}; the first login or bearer makes the account"


def give(wanted: list[Grant], url: str) -> int:
    """Grants through MLflow; the exit status says whether all were given."""
    failed = 0
    with requests.Session() as session:
        session.auth = (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"])
        for grant in wanted:
            body = {
                "username": grant.who,
                "resource_type": grant.kind,
                "resource_id": grant.thing,
                "permission": grant.permission,
            }
            # Only MLflow with workspaces knows the header.
            headers = {} if grant.workspace == "default" else {"X-MLFLOW-WORKSPACE": grant.workspace}
            path = f"{url.rstrip('/')}/api/3.0/mlflow/users/permissions/grant"
            answer = session.post(path, json=body, headers=headers, timeout=60)
            good = answer.status_code == 200
            failed += not good
            why = "" if good else f": {answer.status_code} {answer.text[:200]}"
            print("given " if good else "FAILED", grant.who, grant.kind, grant.thing, grant.permission, why)
    return int(failed > 0)


def rest(rival: sqlalchemy.Connection) -> Iterator[str]:
    """Rows of every other table of grants, and how many: patterns, gateway, scorers, workspaces, tokens."""
    carried = {table for row in SINGLE for table in row[:2]}
    for table in sorted(sqlalchemy.inspect(rival).get_table_names()):
        if table in carried or not table.endswith(("_permissions", "_tokens")):
            continue
        rows: list[Any] = list(rival.execute(sqlalchemy.text(f"SELECT * FROM {table}")).mappings())
        if table.endswith("_tokens"):
            yield f"{table}: {len(rows)} tokens; people and jobs send the provider's own instead"
            continue
        for row in rows:
            told = ", ".join(
                f"{name}={row[name]!r}" for name in row if name != "id" and row[name] is not None
            )
            yield f"{table}: {told}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
