"""`mlflow-oidc users` with no server: the roles that groups gave, and the tables of an older version."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from support import databases, venvs
from support.people import Command
from support.server import MlflowServer, settings_for, write_ini

MLFLOW = "3.17.2"
ISSUER = "https://issuer.example"
# The command with less patience for a locked file than its half a minute.
HASTY = """import sys
from mlflow_oidc import asking, cli, people_database
asking._PATIENCE = people_database._PATIENCE = 0.2
sys.exit(cli.main())"""
GIVEN = [("oidc:operators",), ("theirs",)]


class Place:
    """A folder of a server where carol, who has a password of MLflow's too, is bound and has two roles."""

    def __init__(self, folder: Path) -> None:
        settings = settings_for(ISSUER)
        self.server = MlflowServer(MLFLOW, folder, settings=settings)
        self.users = Command(self.server)
        self.file = folder / "basic_auth.db"
        write_ini(folder)
        done = databases.upgrade(f"sqlite:///{self.file}", MLFLOW, folder)
        assert done.returncode == 0, done.stderr
        with closing(sqlite3.connect(self.file)) as mlflow, mlflow:
            mlflow.executescript(
                "INSERT INTO users (id, username, password_hash, is_admin) VALUES (5, 'carol', 'scrypt:', 0);"
                "INSERT INTO roles (id, name, workspace) VALUES"
                " (1, 'oidc:operators', 'default'), (2, 'theirs', 'default');"
                "INSERT INTO user_role_assignments (user_id, role_id) VALUES (5, 1), (5, 2);"
            )
        self.users.said("link", "carol", "--subject", "sub-of-carol")

    def roles(self) -> list[tuple[str]]:
        query = (
            "SELECT name FROM roles JOIN user_role_assignments ON role_id = roles.id WHERE user_id = 5"
            " ORDER BY name"
        )
        with closing(sqlite3.connect(self.file)) as mlflow:
            return mlflow.execute(query).fetchall()

    def while_locked(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command while another writer has the lock of MLflow's file."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            return subprocess.run(
                [str(venvs.program(MLFLOW, "python")), "-c", HASTY, "users", *words],
                cwd=self.server.folder,
                env=self.server.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


CHANGES: dict[str, tuple[tuple[str, ...], Callable[[Place], bool]]] = {
    "unlink": (("unlink", "carol", "--yes"), lambda place: place.users.nothing("list")),
    "replace": (
        ("link", "carol", "--subject", "new", "--replace"),
        lambda place: place.users.person("carol")["subject"] == "new",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whoever_is_bound_no_more_keeps_no_role_that_groups_gave(place: Place, what: str) -> None:
    words, is_done = CHANGES[what]
    assert place.roles() == GIVEN
    failed = place.while_locked(*words)
    assert failed.returncode == 1
    assert "the database gave no answer" in failed.stderr
    assert not is_done(place), "nothing is half done"
    assert place.roles() == GIVEN
    assert "Roles that groups gave and that are taken away: 1." in place.users.said(*words)
    assert is_done(place)
    assert place.roles() == [("theirs",)]


def test_an_unlink_that_was_cut_off_is_finished_by_the_next_one(place: Place) -> None:
    """The rows of the binding and of the roles are in two files, and a request may come in between."""
    with closing(sqlite3.connect(f"{place.file}-oidc")) as ours, ours:
        ours.execute("DELETE FROM oidc_identities")
    asked = place.users.said("unlink", "carol", status=2)
    assert "is bound to no identity, and has roles still that groups gave: 1" in asked
    assert place.roles() == GIVEN
    assert "Roles that groups gave and that are taken away: 1." in place.users.said(
        "unlink", "carol", "--yes"
    )
    assert place.roles() == [("theirs",)]
    assert "is bound to no identity" in place.users.said("unlink", "carol", "--yes", status=1)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_looking_leaves_the_tables_of_an_older_version_as_they_are(place: Place, journal: str) -> None:
    """Its server may be running. A change brings them up to date."""

    def state() -> tuple[set[str], str]:
        with closing(sqlite3.connect(f"{place.file}-oidc")) as ours:
            columns = {row[1] for row in ours.execute("PRAGMA table_info(oidc_sessions)")}
            return columns, ours.execute("PRAGMA journal_mode").fetchone()[0]

    with closing(sqlite3.connect(f"{place.file}-oidc")) as ours:
        ours.executescript(
            f"PRAGMA journal_mode = {journal}; DROP TABLE oidc_sessions;"
            "CREATE TABLE oidc_sessions (id_hash BLOB NOT NULL PRIMARY KEY, issuer TEXT NOT NULL,"
            " subject TEXT NOT NULL, provider_sid TEXT, created_at INTEGER NOT NULL,"
            " expires_at INTEGER NOT NULL, sealed_id_token TEXT) WITHOUT ROWID;"
            "INSERT INTO oidc_sessions VALUES"
            f" (zeroblob(32), '{ISSUER}', 'sub-of-carol', NULL, 1, 9999999999, NULL);"
        )
    before = state()
    (session,) = place.users.json("sessions")
    assert (session["username"], session["handle"]) == ("carol", "0" * 12)
    assert place.users.person("carol")["sessions"] == 1
    place.users.json("show", "carol")
    assert state() == before
    assert before[1] == journal
    place.users.said("sign-out", "carol")
    assert state()[0] - before[0] == {"checked_at", "recheck_until", "sealed_refresh_token"}
    assert place.users.nothing("sessions")
