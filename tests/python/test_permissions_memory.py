"""What MLflow decides is the same as without our memory of its look-ups: at once, and on every worker.

The memory would last five minutes here, so that nothing is seen only because it has run out.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from support import venvs
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for

Person = Callable[..., str]

API = "/api/2.0/mlflow"
ROLES = "/api/3.0/mlflow/roles"
GRANTS = f"{API}/experiments/permissions"
GRANTS_OF_TODAY = "/api/3.0/mlflow/users/permissions"
PASSWORD = "password-of-a-local-user-123"


@pytest.fixture(scope="module", params=venvs.VERSIONS, ids=[f"mlflow{v}" for v in venvs.VERSIONS])
def server(
    request: pytest.FixtureRequest, make_module_server: MakeServer, provider: Provider
) -> Iterator[MlflowServer]:
    settings = settings_for(
        provider.issuer, OIDC_PERMISSION_CACHE_SECONDS="300", OIDC_SESSION_CACHE_SECONDS="0"
    )
    workers = 2 if request.param == "3.17.2" else 1
    return make_module_server(request.param, provider.issuer, workers=workers, settings=settings)


class Member:
    """Somebody with a token, and an experiment of the administrator's."""

    def __init__(self, server: MlflowServer, provider: Provider, subject: str) -> None:
        self.server = server
        self.name = f"{subject}@example.org"
        self.token = provider.bearer(subject)
        made = server.admin("POST", f"{API}/experiments/create", json={"name": f"for {subject}"})
        self.experiment = made["experiment_id"]

    def may_write(self) -> list[int]:
        """What each worker answers to a tag, the last one first: the write went through the first."""
        return [self.on(worker, self.tag).status_code for worker in reversed(range(self.server.workers))]

    def tag(self) -> requests.Response:
        body = {"experiment_id": self.experiment, "key": "a", "value": "b"}
        return self.call("POST", "experiments/set-experiment-tag", json=body)

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        return self.server.call(method, f"{API}/{path}", token=self.token, **arguments)

    def on(self, worker: int, call: Callable[[], requests.Response]) -> requests.Response:
        with self.server.only_worker(worker):
            return call()

    def admin(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A change by the administrator, through the first worker."""
        with self.server.only_worker(0):
            return self.server.admin(method, path, json=body)

    def grant(self, permission: str | None) -> None:
        """Hers is this on the experiment, or nothing of her own."""
        with self.server.only_worker(0):
            grant(self.server, self.name, self.experiment, permission)


def grant(server: MlflowServer, username: str, experiment: str, permission: str | None) -> None:
    if server.version == "3.17.2":
        what = {"username": username, "resource_type": "experiment", "resource_id": experiment}
        # There is one row for each of them, which is made and removed, and never changed.
        server.call("POST", f"{GRANTS_OF_TODAY}/revoke", json=what, auth=ADMIN)
        if permission is not None:
            permission = permission.replace("NO_PERMISSIONS", "DENY")
            server.admin("POST", f"{GRANTS_OF_TODAY}/grant", json={**what, "permission": permission})
        return
    what = {"username": username, "experiment_id": experiment}
    if permission is None:
        server.admin("DELETE", f"{GRANTS}/delete", json=what)
        return
    made = server.call("POST", f"{GRANTS}/create", json={**what, "permission": permission}, auth=ADMIN)
    if made.status_code != 200:
        server.admin("PATCH", f"{GRANTS}/update", json={**what, "permission": permission})


@pytest.fixture
def alice(server: MlflowServer, provider: Provider, person: Person) -> Member:
    member = Member(server, provider, person("alice"))
    # Every worker has seen her and remembers that she may read.
    assert set(member.may_write()) == {403}
    return member


def test_a_grant_is_seen_at_once_and_so_is_its_end(alice: Member) -> None:
    every = len(alice.may_write())
    for _ in range(3):
        alice.grant("EDIT")
        assert alice.may_write() == [200] * every
        alice.grant("READ")
        assert alice.may_write() == [403] * every
        alice.grant("MANAGE")
        assert alice.may_write() == [200] * every
        alice.grant(None)
        assert alice.may_write() == [403] * every


def test_what_is_made_on_one_worker_is_ours_on_the_other(alice: Member) -> None:
    """With a plain memory of seconds the second call is refused: the grant of the first one is not in it."""
    for number in range(3):
        body = {"name": f"{alice.name} {number}"}
        made = alice.on(0, lambda body=body: alice.call("POST", "experiments/create", json=body))
        assert made.status_code == 200, made.text
        run = {"experiment_id": made.json()["experiment_id"], "start_time": 1}
        last = alice.server.workers - 1
        made = alice.on(last, lambda run=run: alice.call("POST", "runs/create", json=run))
        assert made.status_code == 200, made.text
        metric = {"run_id": made.json()["run"]["info"]["run_id"], "key": "a", "value": 1, "timestamp": 1}
        logged = alice.on(0, lambda metric=metric: alice.call("POST", "runs/log-metric", json=metric))
        assert logged.status_code == 200, logged.text


def test_a_run_that_is_gone_is_nobodys(alice: Member) -> None:
    """`mlflow gc` removes runs from outside; until then a run belongs to its experiment, deleted or not."""
    alice.grant("EDIT")
    made = alice.call("POST", "runs/create", json={"experiment_id": alice.experiment, "start_time": 1})
    run = made.json()["run"]["info"]["run_id"]
    metric = {"run_id": run, "key": "a", "value": 1, "timestamp": 1}
    assert alice.call("POST", "runs/log-metric", json=metric).status_code == 200
    alice.grant("READ")
    assert alice.call("POST", "runs/log-metric", json=metric).status_code == 403
    assert alice.call("GET", f"runs/get?run_id={run}").json()["run"]["info"]["run_id"] == run
    alice.grant("MANAGE")
    assert alice.call("POST", "runs/delete", json={"run_id": run}).status_code == 200
    assert alice.call("POST", "runs/log-metric", json=metric).status_code == 400
    assert alice.call("POST", "runs/restore", json={"run_id": run}).status_code == 200
    missing = "0" * 32
    with_admin = alice.server.call("GET", f"{API}/runs/get?run_id={missing}", auth=ADMIN)
    assert with_admin.status_code == 404
    # Newer ones do not say to a member that there is no such run.
    expected = 403 if alice.server.version == "3.17.2" else 404
    assert alice.call("GET", f"runs/get?run_id={missing}").status_code == expected


def test_a_role_is_seen_at_once_and_so_is_its_end(alice: Member) -> None:
    if alice.server.version != "3.17.2":
        pytest.skip("MLflow 3.12 is the first one that has roles")
    every = len(alice.may_write())
    role = alice.admin("POST", f"{ROLES}/create", name=f"of {alice.name}", workspace="default")["role"]["id"]
    alice.admin("POST", f"{ROLES}/assign", username=alice.name, role_id=role)
    assert alice.may_write() == [403] * every
    what = {"role_id": role, "resource_type": "experiment", "resource_pattern": "*", "permission": "EDIT"}
    permission = alice.admin("POST", f"{ROLES}/permissions/add", **what)["role_permission"]["id"]
    assert alice.may_write() == [200] * every
    update = f"{ROLES}/permissions/update"
    alice.admin("PATCH", update, role_permission_id=permission, permission="READ")
    assert alice.may_write() == [403] * every
    alice.admin("PATCH", update, role_permission_id=permission, permission="MANAGE")
    assert alice.may_write() == [200] * every
    alice.admin("DELETE", f"{ROLES}/unassign", username=alice.name, role_id=role)
    assert alice.may_write() == [403] * every


def test_who_is_deleted_and_made_anew_has_nothing_left(alice: Member) -> None:
    """She comes in again by the same token, as another row of `users`."""
    alice.grant("EDIT")
    assert set(alice.may_write()) == {200}
    if alice.server.version != "3.17.2":
        # These leave the grants of a removed user behind, and SQLite gives the number away again.
        alice.grant(None)
    alice.admin("DELETE", f"{API}/users/delete", username=alice.name)
    deadline = time.monotonic() + 10
    while alice.server.user(alice.name) is None:
        # A worker believes for a second that it has seen her row, and MLflow says that there is none.
        assert set(alice.may_write()) <= {403, 404}
        assert time.monotonic() < deadline
    assert set(alice.may_write()) == {403}


def test_a_login_that_changes_who_is_an_administrator(
    alice: Member, provider: Provider, person: Person
) -> None:
    subject = alice.name.removesuffix("@example.org")
    path = f"{API}/users/get?username=admin"
    last = alice.server.workers - 1

    def asks(groups: list[str], worker: int) -> int:
        token = provider.bearer(subject, groups=groups)
        return alice.on(worker, lambda: alice.server.call("GET", path, token=token)).status_code

    def becomes(groups: list[str], worker: int) -> None:
        # A worker believes what it has written of her for a second.
        deadline = time.monotonic() + 5
        while alice.server.is_admin(alice.name) is not ("MLFLOW_admin" in groups):
            assert time.monotonic() < deadline
            asks(groups, worker)

    member, admin = ["MLFLOW"], ["MLFLOW", "MLFLOW_admin"]
    for _ in range(2):
        becomes(admin, 0)
        assert asks(admin, last) == asks(admin, 0) == 200
        becomes(member, last)
        assert asks(member, 0) == asks(member, last) == 403


@pytest.mark.parametrize("seconds", ["0", "5"])
def test_zero_leaves_the_store_untouched(
    version: str, seconds: str, make_server: MakeServer, provider: Provider, person: Person
) -> None:
    settings = settings_for(
        provider.issuer, OIDC_PERMISSION_CACHE_SECONDS=seconds, PYTHONPATH=str(venvs.PROGRAMS)
    )
    server = make_server(
        version, provider.issuer, settings=settings, function="wrapped_store:authenticate_request"
    )
    answer = server.call("GET", "/test/wrapped", token=provider.bearer(person("alice")))
    assert answer.status_code == 200, answer.text
    wrapped = answer.json()
    assert wrapped["runs"] is (seconds == "5")
    assert ("get_user" in wrapped["store"]) is (seconds == "5")
    assert bool(wrapped["store"]) is (seconds == "5")


class Table:
    """Requests of several people on one server, each twice, with a change of somebody's rights in between."""

    def __init__(self, server: MlflowServer, provider: Provider) -> None:
        self.server = server
        self._provider = provider
        self.tokens: dict[str, str | None] = {
            name: provider.bearer(name) for name in ("alice", "bob", "carol")
        }
        self.tokens["nobody"] = None
        # What differs from server to server, and stands in answers.
        self.names: dict[str, str] = {}
        self.answers: list[tuple[str, int, str]] = []
        self._begun = 1

    def run(self) -> list[tuple[str, int, str]]:
        one, two = (self._made(name) for name in ("one", "two"))
        for name in self.tokens:
            self._ask(name, "GET", f"experiments/get?experiment_id={one}")
        grant(self.server, self._user("alice"), one, "EDIT")
        self._round(one, two)
        grant(self.server, self._user("bob"), one, "NO_PERMISSIONS")
        grant(self.server, self._user("bob"), two, "MANAGE")
        self._round(one, two)
        grant(self.server, self._user("alice"), one, "READ")
        grant(self.server, self._user("bob"), two, None)
        self._round(one, two)
        self._promote("carol")
        self._round(one, two)
        return self.answers

    def _promote(self, name: str) -> None:
        self.tokens[name] = self._provider.bearer(name, groups=["MLFLOW", "MLFLOW_admin"])
        deadline = time.monotonic() + 5
        while not self.server.is_admin(self._user(name)):
            assert time.monotonic() < deadline
            self.server.call("GET", f"{API}/users/get?username=admin", token=self.tokens[name])

    def _round(self, one: str, two: str) -> None:
        for name in self.tokens:
            for experiment in (one, two, "987654"):
                self._ask(name, "GET", f"experiments/get?experiment_id={experiment}")
                # Runs that began in the same moment come in the order of their ids, which are random.
                self._begun += 1
                body = {"experiment_id": experiment, "start_time": self._begun}
                self._ask(name, "POST", "runs/create", "again", json=body)
                search = {"experiment_ids": [experiment], "max_results": 5}
                self._ask(name, "POST", "runs/search", json=search)
                tag = {"experiment_id": experiment, "key": "a", "value": "b"}
                self._ask(name, "POST", "experiments/set-experiment-tag", json=tag)
                self._ask(
                    name, "GET", f"experiments/permissions/get?experiment_id={experiment}&username=admin"
                )
            for run in (*(key for key, value in self.names.items() if value == "RUN"), "0" * 32):
                self._ask(name, "GET", f"runs/get?run_id={run}")
                metric = {"run_id": run, "key": "a", "value": 1, "timestamp": 1}
                self._ask(name, "POST", "runs/log-metric", json=metric)
            self._ask(name, "GET", "experiments/search?max_results=20")
            self._ask(name, "POST", "registered-models/create", json={"name": f"model of {name}"})
            self._ask(name, "GET", "registered-models/search?max_results=20")
            for model in ("model of alice", "model of bob", "no such model"):
                self._ask(name, "GET", f"registered-models/get?name={model}")
                body = {"name": model, "description": "text"}
                self._ask(name, "PATCH", "registered-models/update", json=body)
            self._ask(name, "GET", "users/get?username=admin")
            self._ask(name, "GET", f"users/get?username={self._user(name)}")
            self._ask(name, "GET", "users/current")

    def _made(self, name: str) -> str:
        experiment: str = self.server.admin("POST", f"{API}/experiments/create", json={"name": name})[
            "experiment_id"
        ]
        made = self.server.admin(
            "POST", f"{API}/runs/create", json={"experiment_id": experiment, "start_time": 1}
        )
        self.names[made["run"]["info"]["run_id"]] = "RUN"
        return experiment

    def _user(self, name: str) -> str:
        return f"{name}@example.org"

    def _ask(self, name: str, method: str, path: str, *turns: str, **arguments: Any) -> None:
        for turn in turns or ("first", "again"):
            answer = self.server.call(method, f"{API}/{path}", token=self.tokens[name], **arguments)
            text = json.dumps(arguments)
            for found, known in self.names.items():
                path, text = path.replace(found, known), text.replace(found, known)
            what = f"{name} {method} {path} {text} {turn}"
            self.answers.append((what, answer.status_code, self._plain(answer.text)))

    def _plain(self, text: str) -> str:
        """Without what differs from run to run: ids, times, names of runs and the folder."""
        text = re.sub(r'"run_name": "[^"]*"|"value": "[a-z]+-[a-z]+-\d+"', "NAME", text)
        text = text.replace(str(self.server.folder), "FOLDER")
        return re.sub(r"[0-9a-f]{32}|\b\d{9,13}\b", "ID", text)


def test_every_answer_is_the_same_with_and_without(
    version: str, make_server: MakeServer, provider: Provider
) -> None:
    tables = []
    for seconds in ("0", "300"):
        settings = settings_for(provider.issuer, OIDC_PERMISSION_CACHE_SECONDS=seconds)
        server = make_server(version, provider.issuer, settings=settings)
        tables.append(Table(server, provider).run())
        server.stop()
    without, remembered = tables
    statuses = {status for _, status, _ in without}
    assert {200, 401, 403, 404} <= statuses
    assert len(without) == len(remembered) > 500
    different = [pair for pair in zip(without, remembered, strict=True) if pair[0] != pair[1]]
    assert not different, f"{len(different)} of {len(without)}, the first: {different[0]}"
