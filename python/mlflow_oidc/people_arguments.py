"""The words of ``mlflow-oidc users``. Nothing heavy is imported here: every command of ours passes by."""

import argparse
from typing import Any

_ABOUT = """Says who is bound to whom and who is signed in, and changes it by hand. Run it in the folder,
environment and Python of the server, which may be running: it works on the database itself. The exit status
is 0 when it is done, 1 when nothing was found or it was refused, 2 when it was asked wrongly. It never prints
a token or the hash of a password."""


def add(commands: Any) -> None:
    """Adds ``users`` and what it can do to the commands of a parser."""
    users = commands.add_parser(
        "users", help="say who is who, and link, unlink or sign out", description=_ABOUT
    )
    whats = users.add_subparsers(dest="what", required=True, metavar="WHAT")

    listed = _command(whats, "list", "everybody who is bound to an identity of the provider")
    listed.add_argument("--group", metavar="NAME", help="only members of this group, as last told")
    listed.add_argument(
        "--all", action="store_true", help="also the accounts that are nobody's at the provider (local ones)"
    )
    _json(listed)

    show = _command(whats, "show", "all that is known about one person")
    _who(show)
    _json(show)

    link = _command(
        whats,
        "link",
        "bind an existing MLflow user to a subject of the provider, before their first login",
    )
    link.add_argument("user", metavar="USER", help="the name of the MLflow user")
    link.add_argument(
        "--subject",
        required=True,
        metavar="SUB",
        help="the 'sub' of their tokens, or what OIDC_SUBJECT_CLAIM names",
    )
    link.add_argument("--issuer", metavar="URL", help="whose subject it is (default: OIDC_ISSUER_URL)")
    link.add_argument(
        "--administrator",
        action="store_true",
        help="the user is an administrator, and whoever has the subject is to be one",
    )
    link.add_argument(
        "--make", action="store_true", help="make the MLflow user where there is none, as a login would"
    )
    link.add_argument(
        "--replace",
        action="store_true",
        help="take the user from the subject that has it, and end the sessions",
    )

    unlink = _command(whats, "unlink", "take the binding away; the MLflow user with its grants stays")
    unlink.add_argument("user", metavar="USER", help="the name of the MLflow user")
    unlink.add_argument("--yes", action="store_true", help="do not ask")

    signed_in = _command(whats, "sessions", "the browsers that are signed in")
    signed_in.add_argument("user", nargs="?", metavar="USER", help="only those of this MLflow user")
    _json(signed_in)

    sign_out = _command(whats, "sign-out", "end sessions, on every worker and server")
    which = sign_out.add_mutually_exclusive_group(required=True)
    which.add_argument("user", nargs="?", metavar="USER", help="those of this MLflow user")
    which.add_argument("--all", action="store_true", help="those of everybody")
    which.add_argument("--session", metavar="PREFIX", help="the one whose number begins so (see sessions)")


def _command(whats: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = whats.add_parser(
        name, help=about, description=f"{about[:1].upper()}{about[1:]}."
    )
    return parser


def _who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the name of the MLflow user")
    parser.add_argument(
        "--subject",
        action="store_true",
        help="USER is the subject at the provider, not the name in MLflow",
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON instead of columns")
