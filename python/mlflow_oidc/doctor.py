"""``mlflow-oidc doctor``: why single sign-on does not work, in one line a check.

It reads what the server reads, asks the provider as the server does, and writes nothing. What it prints holds
no secret and no token: where a value could be one, its name alone is told.
"""

import configparser
import json
import os
import re
import sys
from collections.abc import Iterable
from functools import cached_property
from importlib import metadata, util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, NamedTuple

from mlflow_oidc import _native
from mlflow_oidc.read_only import is_usable

Level = Literal["ok", "warning", "FAULT"]

# More than any token that the server takes, in bytes.
_TOKEN_LIMIT = 256 * 1024
_COLOURS = {"ok": "32", "warning": "33", "FAULT": "31;1"}


class Finding(NamedTuple):
    """What one check has to say."""

    level: Level
    said: str


class Patient:
    """The configuration of this environment, each part read when a check asks for it."""

    def __init__(self, static_prefix: str | None = None, token: str | None = None) -> None:
        """Takes ``--static-prefix`` of the server (its variable by default), and a token to judge."""
        environment = os.environ
        self.environment = environment
        self.prefix = static_prefix or environment.get("MLFLOW_STATIC_PREFIX", "")
        self.has_token = token is not None
        self._token = token

    @cached_property
    def mlflow_version(self) -> str | None:
        """The version of MLflow that is installed here; MLflow itself is not imported."""
        try:
            return metadata.version("mlflow")
        except metadata.PackageNotFoundError:
            return None

    @property
    def mlflow_release(self) -> tuple[int, int, int] | None:
        """Its three numbers."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", self.mlflow_version or "")
        return (int(found[1]), int(found[2]), int(found[3])) if found else None

    @cached_property
    def ini_path(self) -> Path | None:
        """The file that MLflow reads: the one that is named, else the one that MLflow brings along."""
        if named := self.environment.get("MLFLOW_AUTH_CONFIG_PATH"):
            return Path(named)
        spec = util.find_spec("mlflow")
        if spec is None or spec.origin is None:
            return None
        return Path(spec.origin).parent / "server" / "auth" / "basic_auth.ini"

    @cached_property
    def ini(self) -> configparser.ConfigParser | str:
        """The file, or what is wrong with it. What a parser says of a file may hold a line with a secret."""
        parser = configparser.ConfigParser()
        try:
            with open(self.ini_path or "") as file:
                parser.read_file(file)
        except configparser.Error as fault:
            errors = getattr(fault, "errors", [])
            line = getattr(fault, "lineno", None) or (errors[0][0] if errors else "?")
            return f"line {line} cannot be read ({type(fault).__name__})"
        except UnicodeDecodeError:
            return "it is not a text in UTF-8"
        except OSError as fault:
            return f"it cannot be opened ({type(fault).__name__})"
        return parser

    def mlflow_setting(self, name: str) -> str | None:
        """A value of ``[mlflow]`` as MLflow reads it; ``configparser.Error`` where MLflow meets that."""
        return None if isinstance(self.ini, str) else self.ini.get("mlflow", name, fallback=None)

    @cached_property
    def hook(self) -> ModuleType | str:
        """The module that MLflow calls, or why it cannot be imported."""
        try:
            from mlflow_oidc import hook
        except ImportError as fault:
            return f"{type(fault).__name__}: {fault}"
        return hook

    @cached_property
    def database_uri(self) -> str | None:
        """The address that MLflow opens; it may hold a password."""
        try:
            return self.mlflow_setting("database_uri")
        except configparser.Error:
            return None

    @cached_property
    def database(self) -> tuple[str | None, str]:
        """The path of MLflow's SQLite file, and the kind of database; an address may hold a password."""
        address = self.database_uri
        if not address or isinstance(self.hook, str):
            return None, "none"
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(address)
        except (ArgumentError, ValueError):
            return None, "an address that cannot be read"
        kind = SimpleNamespace(url=url, dialect=SimpleNamespace(name=url.get_backend_name()))
        found: tuple[str | None, str] = self.hook._database(kind)
        return found

    @cached_property
    def seen(self) -> dict[str, Any]:
        """What the native module sees: settings, provider, token."""
        pairs: list[tuple[str, str]] = []
        if self.ini_path is not None and not isinstance(self.ini, str) and not isinstance(self.hook, str):
            pairs = self.hook._section(self.ini_path)
        path, kind = self.database
        usable, version = is_usable(path, kind), self.mlflow_version or ""
        seen: dict[str, Any] = json.loads(
            _native.look(pairs, usable, kind, self.prefix, version, self._token)
        )
        return seen

    @property
    def settings(self) -> dict[str, Any] | None:
        """The settings that a report may show; ``None`` while there is a fault among them."""
        read: dict[str, Any] | None = self.seen["settings"]["read"]
        return read

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What the provider says of itself, once it has passed."""
        answer: dict[str, Any] | None = self.seen.get("metadata")
        return answer if answer and answer["ok"] else None


def examine(patient: Patient) -> list[tuple[str, Finding]]:
    """Every check of the table, in its order: (name, finding)."""
    from mlflow_oidc.doctor_checks import CHECKS

    found = []
    for name, check in CHECKS:
        try:
            found += [(name, finding) for finding in check(patient)]
        except Exception as fault:
            # Its words may hold anything, a line of a file with a secret for example.
            found.append((name, Finding("FAULT", f"the check itself failed ({type(fault).__name__})")))
    return found


def run(*, token: bool = False, static_prefix: str | None = None, as_json: bool = False) -> int:
    """Examines this environment and prints what was found.

    Args:
        token: Whether standard input holds a token to be judged.
        static_prefix: ``--static-prefix`` of the server, where it is not in ``MLFLOW_STATIC_PREFIX``.
        as_json: One JSON object instead of lines.

    Returns:
        The exit status: 1 when there is a fault, 2 when no token came.
    """
    given = None
    if token:
        given = _read_token()
        if given is None:
            return 2
    found = examine(Patient(static_prefix, given))
    failed = any(finding.level == "FAULT" for _, finding in found)
    if as_json:
        checks = [{"check": name, "level": finding.level, "said": finding.said} for name, finding in found]
        print(json.dumps({"ok": not failed, "checks": checks}, indent=2))
    else:
        text = "\n".join(_lines(found, sys.stdout.isatty() and "NO_COLOR" not in os.environ))
        encoding = sys.stdout.encoding or "utf-8"
        # A terminal may have fewer letters than a group's name.
        print(text.encode(encoding, "backslashreplace").decode(encoding))
    return int(failed)


def _read_token() -> str | None:
    if sys.stdin.isatty():
        # It would be shown as it is typed, and a terminal cuts a line after 4096 characters.
        print("mlflow-oidc doctor: pipe the token in: ... | mlflow-oidc doctor --token -", file=sys.stderr)
        return None
    text = sys.stdin.buffer.read(_TOKEN_LIMIT).decode("latin-1").strip()
    scheme, _, rest = text.partition(" ")
    text = rest.strip() if scheme.lower() == "bearer" else text
    if not text:
        print("mlflow-oidc doctor: there is no token on standard input", file=sys.stderr)
        return None
    return text


def _lines(found: Iterable[tuple[str, Finding]], coloured: bool) -> Iterable[str]:
    for name, finding in found:
        level = f"{finding.level:<8}"
        if coloured:
            level = f"\x1b[{_COLOURS[finding.level]}m{level}\x1b[0m"
        yield f"{level}{name}: {_printable(finding.said)}"


def _printable(text: str) -> str:
    """One line, without what a provider or a token could tell a terminal to do."""
    if text.isprintable():
        # Nearly all: of a hundred thousand people, letter by letter took most of the time.
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
