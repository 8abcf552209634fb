"""Where rows are tried: one MLflow server, one provider process, and an engine for each state of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from support.engines import Engines
from support.provider import CLIENT_ID, CLIENT_SECRET
from support.rejects.provider import Issuer, RowProvider
from support.server import ADMIN, SESSION_SECRET, MakeServer

OWN_DATABASE = "basic_auth.db-oidc"
# What no refusal may change: by file and table, the name that a row of ours uses.
TABLES = {
    "basic_auth.db": {"users": "users"},
    OWN_DATABASE: {"oidc_identities": "identities", "oidc_sessions": "sessions"},
}
# A line that we wrote ourselves, unlike the access log of the HTTP server, which repeats each query.
_OURS = re.compile(r"mlflow\.oidc\b")

# One worker that serves many at once, and requests as long as they come: what is refused is refused by us.
_ARGUMENTS = ["--host", "127.0.0.1", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"]
_ARGUMENTS += ["--artifacts-destination", "artifacts"]
_ROOM = {
    True: ["--uvicorn-opts", "--h11-max-incomplete-event-size 500000"],
    False: ["--gunicorn-opts", "--threads 40 --limit-request-field_size 0 --limit-request-line 0"],
}

Rows = dict[str, list[tuple[Any, ...]]]


class Stage:
    """One server process; between two rows that need the same, engine and issuer stay."""

    def __init__(self, make: MakeServer, version: str) -> None:
        self.provider = RowProvider().start()
        arguments = [*_ARGUMENTS, *_ROOM[version.startswith("3.")]]
        self.engines = Engines(make, version, "http://127.0.0.1:9/r/0", arguments=arguments)
        self.server = self.engines.server
        self.issuer: Issuer = self.provider.new_issuer()
        self._state: str | None = None
        self._settings: dict[str, str] = {}
        self._people = 0

    def close(self) -> None:
        self.provider.stop()

    @property
    def session_secret(self) -> str:
        return self._settings.get("OIDC_SESSION_SECRET", SESSION_SECRET)

    def next_person(self) -> str:
        """Nobody is met twice: what one row leaves behind is no matter of another."""
        self._people += 1
        return str(self._people)

    def is_in(self, state: str) -> bool:
        return self._state == state

    def enter(self, state: str | None) -> None:
        """A new issuer; `begin` then makes the engine. `None` is a state that nobody else may use."""
        self.issuer.release()
        self.issuer = self.provider.new_issuer()
        self._state = state

    def leave(self) -> None:
        """What comes next begins anew: this engine or its issuer is spoilt."""
        self._state = None

    def begin(self, changes: Mapping[str, str]) -> None:
        """An engine with the usual settings and these; an empty value removes one."""
        usual = {
            "OIDC_ISSUER_URL": self.issuer.address,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_USER_GROUP": "MLFLOW",
        }
        self._settings = {name: value for name, value in {**usual, **changes}.items() if value != ""}
        self.engines.fresh(self._settings)

    def change_settings(self, changes: Mapping[str, str]) -> None:
        """The server goes on with these settings beside those it had; nobody else may use it after that."""
        merged = {**self._settings, **changes}
        self._settings = {name: value for name, value in merged.items() if value != ""}
        self.engines.fresh(self._settings)
        self.leave()

    def again(self) -> None:
        """Another engine with the same settings, which remembers nothing and has no file open."""
        self.engines.fresh(self._settings)

    def break_engine(self) -> None:
        self.engines.broken(self._settings)
        self.leave()

    def admin(self, method: str, path: str, **body: Any) -> None:
        """A call of MLflow's own administrator, with a password: whatever the row's settings say of that."""
        self.engines.fresh({"OIDC_ISSUER_URL": self.issuer.address, "OIDC_CLIENT_ID": CLIENT_ID})
        answer = self.server.call(method, path, auth=ADMIN, json=body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        self.again()

    @contextmanager
    def database_broken(self) -> Iterator[None]:
        """Our own file is no database, until the end of this."""
        path = self.server.folder / OWN_DATABASE
        aside = self.server.folder / "aside"
        aside.mkdir(exist_ok=True)
        # Nobody has it open between two engines, and what was written ahead is in it then.
        self.engines.broken(self._settings)
        kept = [found.rename(aside / found.name) for found in self.server.folder.glob(OWN_DATABASE + "*")]
        path.write_bytes(b"this is no database. " * 500)
        self.again()
        try:
            yield
        finally:
            self.engines.broken(self._settings)
            for found in self.server.folder.glob(OWN_DATABASE + "*"):
                found.unlink()
            for found in kept:
                found.rename(self.server.folder / found.name)
            self.leave()

    def rows(self) -> Rows:
        """Every row that a refusal might touch, read from outside. Our file is made by the first engine."""
        found: Rows = {name: [] for names in TABLES.values() for name in names.values()}
        for database, names in TABLES.items():
            if (self.server.folder / database).exists():
                with self.server.reading(database) as connection:
                    for (table,) in connection.execute("SELECT name FROM sqlite_master").fetchall():
                        if table in names:
                            found[names[table]] = connection.execute(f"SELECT * FROM {table}").fetchall()
        return found

    def log_length(self) -> int:
        return self.server.log.stat().st_size

    def log_since(self, start: int) -> str:
        with self.server.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    @staticmethod
    def our_lines(log: str) -> str:
        return "\n".join(line for line in log.splitlines() if _OURS.search(line))
