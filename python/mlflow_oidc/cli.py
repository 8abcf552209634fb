"""The command `mlflow-oidc`: a demo on this machine, a doctor, the people, and the settings.

Nothing heavy is imported before a command needs it: `mlflow-oidc --version` must answer at once, also when
MLflow itself is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mlflow_oidc import people_arguments, roles_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is what it returns."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more:
        # The doctor's may be a token that somebody put there, and is not repeated.
        told = (
            "too many arguments"
            if options.command == "doctor"
            else f"unrecognized arguments: {' '.join(more)}"
        )
        parser.error(told)
    command = {
        "demo": _demo,
        "doctor": _doctor,
        "roles": _roles,
        "settings": _settings,
        "users": _users,
    }[options.command]
    try:
        return command(options)
    except BrokenPipeError:
        # `mlflow-oidc settings | head`: the reader has enough. Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlflow-oidc", description="Single sign-on for a self-hosted MLflow, by OpenID Connect."
    )
    parser.add_argument("--version", action=_Version, help="print the version and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="start MLflow and a provider with three people on this machine",
        description="Starts MLflow and an OpenID provider with three people on the loopback address, with "
        "everything in a temporary folder that is removed at the end. Ctrl-C stops it.",
    )
    demo.add_argument(
        "--check", action="store_true", help="log everybody in unattended, print what was seen, and end"
    )
    demo.add_argument(
        "--port", type=int, help="the port of MLflow (default: 8080, or a free one when that is taken)"
    )

    doctor = commands.add_parser(
        "doctor",
        help="say why single sign-on does not work",
        description="Looks at what the server would read here (run it in the server's folder, environment "
        "and Python), asks the provider, and prints one line a check: ok, warning or FAULT. The exit status "
        "is 1 when there is a fault. It changes nothing, and prints no secret and no token.",
    )
    doctor.add_argument(
        "--token",
        metavar="-",
        help="judge the bearer token on standard input: would it be let in, and as whom",
    )
    doctor.add_argument(
        "--static-prefix", metavar="PATH", help="what the server has (default: MLFLOW_STATIC_PREFIX)"
    )
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    people_arguments.add(commands)
    roles_arguments.add(commands)

    settings = commands.add_parser(
        "settings", help="print every setting with its default and one line of help"
    )
    settings.add_argument(
        "--format",
        choices=("ini", "markdown"),
        default="ini",
        help="ini: the [oidc] section of basic_auth.ini, commented; markdown: a table (default: ini)",
    )
    return parser


class _Version(argparse.Action):
    """Asks for the version only when it is wanted; the metadata of the environment is read for it."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"mlflow-oidc {version('mlflow-oidc')}")
        parser.exit()


def _demo(options: argparse.Namespace) -> int:
    from mlflow_oidc import demo

    return demo.run(check=options.check, port=options.port)


def _doctor(options: argparse.Namespace) -> int:
    if options.token not in (None, "-"):
        # Not repeated: it may be a token, and a terminal keeps what it shows.
        told = "give the token on standard input and say '--token -': everybody here can read a command line"
        print(f"mlflow-oidc doctor: {told}", file=sys.stderr)
        return 2
    from mlflow_oidc import doctor

    return doctor.run(
        token=options.token is not None, static_prefix=options.static_prefix, as_json=options.json
    )


def _users(options: argparse.Namespace) -> int:
    from mlflow_oidc import people_command

    return people_command.run(options)


def _roles(options: argparse.Namespace) -> int:
    from mlflow_oidc import roles_command

    return roles_command.run(options)


def _settings(options: argparse.Namespace) -> int:
    from mlflow_oidc import _native

    text = _native.settings_markdown() if options.format == "markdown" else _native.settings_sample_ini()
    print(text.rstrip("\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
