"""A real MLflow server whose engine is built anew on demand, for tables of many settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support import venvs, wire
from support.server import MakeServer, MlflowServer, settings_for

CONTROL = "/test/engine"


class Engines:
    """One server process, one worker, one engine after the other.

    `arguments` are those of a server beside the ones that are given here.
    """

    def __init__(
        self,
        make: MakeServer,
        version: str,
        issuer: str,
        function: str = "many_engines:authenticate_request",
        **arguments: Any,
    ) -> None:
        settings = settings_for(
            issuer,
            PYTHONPATH=str(venvs.PROGRAMS),
            # MLflow's own guard of the Host header would answer before we are asked.
            MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE="true",
        )
        self.server: MlflowServer = make(version, issuer, settings=settings, function=function, **arguments)
        # What a broken engine raises is meant to be logged as a fault of ours.
        self.server.excused.add("RuntimeError: broken on demand")

    def fresh(self, settings: Mapping[str, str]) -> None:
        """Drops the engine; the next request builds one with these variables and no others of ours."""
        self._control({"settings": dict(settings)})

    def broken(self, settings: Mapping[str, str]) -> None:
        """The next engine raises."""
        self._control({"settings": dict(settings), "break": True})

    def _control(self, wanted: dict[str, object]) -> None:
        answer = wire.send("POST", self.server.url + CONTROL, json=wanted)
        assert answer.status_code == 204, answer.text
