"""`mlflow-oidc users` beside a server, as its administrator runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import Any

from support import tokens, venvs
from support.server import MlflowServer


class Command:
    """The command in the folder, the environment and the Python of one server."""

    def __init__(self, server: MlflowServer) -> None:
        self.server = server

    def run(
        self, *words: str, answer: str | None = None, **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Runs it; with an `answer` there is a terminal where somebody types it."""
        variables = {**self.server.environment(), **changes}
        told: dict[str, Any] = {"stdin": subprocess.DEVNULL}
        if answer is not None:
            ours, theirs = pty.openpty()
            os.write(ours, answer.encode())
            told = {"stdin": theirs}
        try:
            done = subprocess.run(
                [str(venvs.program(self.server.version, "mlflow-oidc")), "users", *words],
                cwd=self.server.folder,
                env={name: value for name, value in variables.items() if value is not None},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                **told,
            )
        finally:
            if answer is not None:
                os.close(ours)
                os.close(theirs)
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed, printed
        assert not [secret for secret in self.server.secrets if secret in printed], printed
        assert not [token for token in tokens.MINTED if token in printed], printed
        assert not tokens.JWT.search(printed), printed
        assert "oidc:no-password" not in printed, printed
        assert "$" not in printed, f"a hash of a password: {printed}"
        assert "\x1b" not in printed, repr(printed)
        return done

    def said(self, *words: str, status: int = 0, **changes: Any) -> str:
        """What it prints, all of it, with the exit status that is expected."""
        done = self.run(*words, **changes)
        assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert bool(done.stderr) is (status != 0), done.stderr
        return done.stdout + done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.said(*words, "--json"))

    def nothing(self, *words: str) -> bool:
        """Whether a list is empty, in JSON too; programs get no words beside it."""
        done = self.run(*words, "--json")
        return (done.returncode, json.loads(done.stdout), done.stderr) == (1, [], "")

    def person(self, username: str) -> dict[str, Any]:
        """The row of `list` with that name."""
        (row,) = [row for row in self.json("list", "--all") if row["username"] == username]
        found: dict[str, Any] = row
        return found
