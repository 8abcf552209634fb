"""The table of refusals over HTTP: each row at each of its places, against real MLflow servers.

The pure core reads the same file (`tests/rust/rules/rejects`). What is said here beyond it: the answers went
through gunicorn or uvicorn and through MLflow's own hooks, the tokens came from a provider over HTTP, and the
rows of the databases are read from outside the server.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support import venvs
from support.rejects import table
from support.rejects.before import prepare
from support.rejects.judge import code_of, judge
from support.rejects.places import PLACES
from support.rejects.run import Run
from support.rejects.stage import Stage
from support.rejects.table import Row
from support.server import MakeServer

RUNS = [(row, place) for row in table.rows() if row.only != "core" for place in row.at]


@pytest.fixture(scope="module", params=["3.17.2", "2.9.2"], ids=["mlflow3.17.2", "mlflow2.9.2"])
def stage(request: pytest.FixtureRequest, make_module_server: MakeServer) -> Iterator[Stage]:
    venvs.require(request.param)
    made = Stage(make_module_server, request.param)
    yield made
    made.close()


def attempt(stage: Stage, row: Row, place: str) -> Run:
    """Everything up to the answers."""
    with ExitStack() as undo:
        run = Run(stage, row, place, undo)
        try:
            run.set_up()
            prepare(run)
            run.take_stock()
            start = stage.log_length()
            run.answers = PLACES[place](run)
            run.log = stage.log_since(start)
        except BaseException:
            # Nobody knows how far it came.
            stage.leave()
            raise
    return run


@pytest.mark.parametrize(("row", "place"), RUNS, ids=[f"{place}: {row.name}" for row, place in RUNS])
def test_nothing_gets_in(stage: Stage, row: Row, place: str) -> None:
    judge(attempt(stage, row, place))


def _let_in(run: Run) -> None:
    for answer in run.answers:
        # MLflow's own permissions come after us: it may still refuse a trace that nobody sent.
        assert code_of(answer) is None, answer.text
        assert answer.status_code != 401, answer.text
    assert run.answers[0].status_code == 200, run.answers[0].text
    assert run.server.user(run.names["user"]) is not None


def _signed_in(run: Run) -> None:
    assert run.answers[0].status_code == 302, run.answers[0].text
    said = run.browser.signed_in()
    assert (said["username"], said["groups"]) == (run.names["user"], ["MLFLOW"])


def _signed_out(run: Run) -> None:
    assert run.answers[0].status_code == 200, run.answers[0].text
    assert run.browser.session() is None


def _led_on(run: Run) -> None:
    assert run.answers[0].status_code == 200
    assert "next=%2F%3Fa%3Db%23%2Fexperiments%2F1&amp;go=1" in run.answers[0].text


GOOD: dict[str, Callable[[Run], None]] = {
    "bearer": _let_in,
    "id_token": _signed_in,
    "callback": _signed_in,
    "token_answer": _signed_in,
    "userinfo": _signed_in,
    "logout_token": _signed_out,
    "cookie": _let_in,
    "next": _led_on,
}


@pytest.mark.parametrize("place", GOOD)
def test_what_the_rows_spoil_is_good_before(stage: Stage, place: str) -> None:
    """Else they would be refused for another reason than the one that they are there for."""
    row = Row(name="good", at=[place], code="", source="", next="/?a=b#/experiments/1")
    run = attempt(stage, row, place)
    GOOD[place](run)
    assert not run.issuer.faults


EXPIRED = Row(name="expired", at=["bearer", "id_token"], code="token_expired", source="-", claims={"exp": 1})
NOT_SPOILT = dataclasses.replace(EXPIRED, claims={})


def _nothing(run: Run) -> None:
    """The row itself is wrong."""


def _another_row_was_there(run: Run) -> None:
    assert run.rows_before is not None
    run.rows_before["users"].append(())


def _the_cookie_was_kept(run: Run) -> None:
    name, _, value = run.names["cookie"].partition("=")
    run.comes_back.cookies[run.comes_back.origin] = {name: value}
    # The worker remembers that this login is spent; the next one knows it by the cookie alone.
    run.stage.again()


# What the judge says, and how a run is spoilt so that it has to.
WRONG: dict[str, tuple[str, Row, Callable[[Run], None]]] = {
    "expected 401 token_nonce": ("bearer", dataclasses.replace(EXPIRED, code="token_nonce"), _nothing),
    "expected 502 token_nonce": ("id_token", dataclasses.replace(EXPIRED, code="token_nonce"), _nothing),
    "found 200 None": ("bearer", NOT_SPOILT, _nothing),
    "found 302 None": ("id_token", NOT_SPOILT, _nothing),
    "is in the answer": ("bearer", EXPIRED, lambda run: run.secrets.add("token_expired")),
    "is in the log": ("bearer", EXPIRED, lambda run: run.secrets.add("refused GET")),
    "the log does not say why": ("bearer", EXPIRED, lambda run: setattr(run, "log", "")),
    "rows have changed": ("bearer", EXPIRED, _another_row_was_there),
    "the login is not used up": ("id_token", EXPIRED, _the_cookie_was_kept),
}


@pytest.mark.parametrize("told", WRONG)
def test_a_run_that_is_wrong_is_seen(stage: Stage, told: str) -> None:
    """The runs above are worth nothing if they see neither a wrong code nor what must not have happened."""
    place, row, spoil = WRONG[told]
    run = attempt(stage, row, place)
    spoil(run)
    with pytest.raises(AssertionError, match=told):
        judge(run)


def test_every_code_has_a_row() -> None:
    missing = set(table.catalogue()) - {row.code for row, _ in RUNS}
    assert not missing, f"nothing is refused over HTTP with {sorted(missing)}"


def test_every_row_is_tried_somewhere_under_a_code_that_exists() -> None:
    rows = table.rows()
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    assert {row.code for row in rows} <= {*table.catalogue(), table.START_PAGE}
    one_sided = [row.name for row in rows if row.only]
    assert len(one_sided) <= len(rows) * 0.02, f"too many are tried in one way only: {one_sided}"
