"""Starts the processes of the bench and asks them: one line of JSON there, one back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import environs
import keys

HERE = Path(__file__).resolve().parent
ADMIN = ("admin", "admin-password-of-the-bench")
SECRET = "session-secret-of-the-bench-0123456789abcdef"
OURS = "auth.oidc_auth:authenticate_request"


class Failed(Exception):
    """A process ended or gave a wrong answer; the text has the end of its log."""


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Made from nothing, so that no variable of the machine decides a figure."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": SECRET,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        **more,
    }


def our_settings(issuer: str) -> dict[str, str]:
    return {
        "OIDC_ISSUER_URL": issuer,
        "OIDC_CLIENT_ID": keys.CLIENT_ID,
        "OIDC_CLIENT_SECRET": keys.CLIENT_SECRET,
        "OIDC_USERNAME_CLAIM": "email",
        "OIDC_USER_GROUP": keys.GROUP,
    }


def rival_settings(issuer: str, folder: Path) -> dict[str, str]:
    """Those of mlflow-oidc-auth, with the audience and the issuer checked as they are by the others."""
    return {
        "OIDC_DISCOVERY_URL": f"{issuer}/.well-known/openid-configuration",
        "OIDC_CLIENT_ID": keys.CLIENT_ID,
        "OIDC_CLIENT_SECRET": keys.CLIENT_SECRET,
        "OIDC_AUDIENCE": keys.CLIENT_ID,
        "OIDC_ISSUER": issuer,
        "OIDC_GROUP_NAME": keys.GROUP,
        "OIDC_REDIRECT_URI": f"http://{environs.HOST}/callback",
        "OIDC_USERS_DB_URI": f"sqlite:///{folder}/auth.db",
        "SECRET_KEY": SECRET,
    }


def home(folder: Path, function: str = OURS, template: Path | None = None) -> Path:
    """A folder with MLflow's settings, and with the databases of another one where there is one."""
    folder.mkdir(parents=True)
    if template is not None:
        for database in template.glob("*.db*"):
            shutil.copy(database, folder)
    lines = [
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        f"database_uri = sqlite:///{folder}/basic_auth.db",
        f"admin_username = {ADMIN[0]}",
        f"admin_password = {ADMIN[1]}",
        f"authorization_function = {function}",
        # Only MLflow's own function reads them; the bench takes the cache away where it times without.
        "auth_cache_max_size = 10000",
        "auth_cache_ttl_seconds = 3600",
    ]
    (folder / "basic_auth.ini").write_text("\n".join(lines) + "\n")
    return folder


class Child:
    """One process that answers questions."""

    def __init__(
        self,
        program: str,
        folder: Path,
        settings: Mapping[str, Any],
        before: tuple[str, ...] = (),
        **variables: str,
    ) -> None:
        """Starts it; `before` are the words of a program that runs it, such as a profiler."""
        self.folder = folder
        self.name = f"{program} in {folder.name}"
        self.log = folder / f"{Path(program).stem}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*before, sys.executable, "-P", str(HERE / program), json.dumps(settings)],
                cwd=folder,
                env={**environment(folder, **variables), "PYTHONPATH": str(HERE)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # MLflow's handler writes to stderr; as in a server whose log goes to a file.
                stderr=log,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **question: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"do": do, **question}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"{self.name} ended at {do} {question}:\n{self.log_tail()}")
        answer = json.loads(line)
        if "wrong" in answer:
            raise Failed(f"{self.name} at {do} {question}: {answer['wrong']}\n{self.log_tail(15)}")
        return answer["is"]

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self) -> int:
        """For one that does its work and ends by itself: its exit status."""
        return self._process.wait(300)

    def end(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def children(*made: Child) -> Iterator[tuple[Child, ...]]:
    """All of them are ended, whatever happens."""
    try:
        yield made
    finally:
        for child in made:
            child.end()


def clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def cores() -> int:
    return len(os.sched_getaffinity(0))
