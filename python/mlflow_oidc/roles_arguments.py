"""The words of ``mlflow-oidc roles``. Nothing heavy is imported here: every command of ours passes by."""

import argparse
from typing import Any

_ABOUT = """Compares MLflow's roles with [oidc:roles], and makes them agree: the roles, what they grant, and
who has them by the newest known groups. Run it in the folder, environment and Python of the server, which may
be running. Only roles whose names begin with 'oidc:' are seen or touched. The exit status is 0 when it is
done and 1 when it was refused."""


def add(commands: Any) -> None:
    """Adds ``roles`` and what it can do to the commands of a parser."""
    roles = commands.add_parser(
        "roles", help="show or make MLflow's roles as [oidc:roles] says", description=_ABOUT
    )
    whats = roles.add_subparsers(dest="what", required=True, metavar="WHAT")
    plan = _command(
        whats, "plan", "say what would be created, granted, revoked, and for whom; change nothing"
    )
    plan.add_argument(
        "--detailed-exitcode", action="store_true", help="exit with 2 when there is something to change"
    )
    apply = _command(whats, "apply", "say the same and do it, all or nothing; ask first")
    apply.add_argument("--yes", action="store_true", help="do not ask; needed where nobody can be asked")
    apply.add_argument(
        "--remove-all-roles",
        action="store_true",
        help="it is meant that the settings have no role: remove all that are there",
    )


def _command(whats: Any, name: str, about: str) -> argparse.ArgumentParser:
    told = about[0].upper() + about[1:] + "."
    parser: argparse.ArgumentParser = whats.add_parser(name, help=about, description=told)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return parser
