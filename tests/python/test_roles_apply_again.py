"""`mlflow-oidc roles apply` while somebody else changes the same roles all the time."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest

from mlflow_oidc import roles_command
from mlflow_oidc.people import Refused
from mlflow_oidc.roles_command import Plan, Planned


def test_what_is_not_done_any_more_is_not_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No real person changes roles that often, so what is there is made up here."""
    settings: Any = SimpleNamespace()
    plan = Plan([Planned(("create", "default", "oidc:x", "said", "", "", 0), "", "")], settings)
    done: list[int] = []
    people: Any = SimpleNamespace(mlflow=None)
    monkeypatch.setattr(roles_command, "Database", lambda engine: engine)
    changing = SimpleNamespace(change=lambda changes: done.append(len(changes)) or [])
    monkeypatch.setattr(roles_command, "Roles", lambda database: changing)
    monkeypatch.setattr(roles_command, "look", lambda people, settings: plan)
    with pytest.raises(Refused, match="all the time"):
        roles_command._carry_out(people, plan, Namespace(json=False, what="apply"))
    announced = capsys.readouterr().out.count("so that this is done as well")
    assert (announced, done) == (2, [1, 1, 1])
