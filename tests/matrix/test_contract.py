"""What MLflow's auth app demands of a function, in that MLflow's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from matrix import Cell

from support import venvs
from support.provider import Provider
from support.server import SESSION_SECRET, settings_for, write_ini


def test_it_says_the_same_each_time_it_is_asked(
    cell: Cell, provider: Provider, person: Callable[..., str], tmp_path: Path
) -> None:
    """The second to sixth callers take it for an Authorization without looking."""
    ini = write_ini(tmp_path)
    alice = person("alice")
    said = json.loads(
        venvs.output(
            cell.environment,
            "asked_again.py",
            provider.bearer(alice),
            home=tmp_path,
            MLFLOW_AUTH_CONFIG_PATH=str(ini),
            MLFLOW_FLASK_SERVER_SECRET_KEY=SESSION_SECRET,
            **settings_for(provider.issuer),
        ).splitlines()[-1]
    )
    name = f"{alice}@example.org"
    assert said["good"] == {
        "same": True,
        "kind": "Authorization",
        "username": name,
        "of_the_request": name,
    }
    assert said["bad"] == {"same": True, "kind": "Response", "status": 401}
