"""A team of three, two groups, two workspaces: from an empty database, by real logins, on each kind of it.

MLflow's own permission checks say what each of them may do to each thing. The table is what a reader wants to
know; the rest of the file is how it is asked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import databases, venvs
from support.browser import Browser
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for

VERSION = "3.17.2"
KINDS = ("sqlite", *databases.KINDS)

ROLES = """
research/scientists =
    group ml-research
    workspace * USE
    experiment * EDIT
    registered_model * READ
production/operators =
    group teams/ml-*
    workspace * USE
    experiment * READ
    registered_model * MANAGE
production/on-call =
    group ml-research
    workspace * USE
    registered_model * READ
    experiment * DENY
"""

# alice is of `ml-research`, bob of `/teams/ml-ops`, carol of both. `yes` is a status of 200, `no` of 403.
TABLE = """
                                           alice  bob    carol
research     list experiments              yes    no     yes
research     read the experiment           yes    no     yes
research     write to the experiment       yes    no     yes
research     delete the experiment         no     no     no
research     create an experiment          yes    no     yes
research     read the model                yes    no     yes
research     write to the model            no     no     no
production   read the experiment           no     yes    no
production   write to the experiment       no     no     no
production   create an experiment          no     yes    no
production   read the model                yes    yes    yes
production   write to the model            no     yes    yes
production   delete the model              no     yes    yes
default      read the experiment           no     no     no
default      create an experiment          no     no     no
"""

WHO = {"alice": ["MLFLOW", "ml-research"], "bob": ["MLFLOW", "/teams/ml-ops"]}
WHO["carol"] = [*WHO["alice"], *WHO["bob"]]
AJAX = "/ajax-api/2.0/mlflow"
# What a response handler of MLflow's gives to whoever has made something: MANAGE on it alone.
_numbers = itertools.count(1)


class Things:
    """An experiment and a model in each workspace, which the administrator has made."""

    def __init__(self, server: MlflowServer) -> None:
        self._server = server
        self.experiments: dict[str, str] = {}
        for workspace in ("research", "production"):
            made = server.call("POST", "/api/3.0/mlflow/workspaces", auth=ADMIN, json={"name": workspace})
            assert made.status_code == 201, made.text
        for workspace in ("research", "production", "default"):
            experiment = self.make("experiments/create", workspace, name="x")
            self.experiments[workspace] = experiment["experiment_id"]
            self.make("registered-models/create", workspace, name="m")

    def make(self, what: str, workspace: str, **body: Any) -> dict[str, Any]:
        headers = {"X-MLFLOW-WORKSPACE": workspace}
        return self._server.admin("POST", f"/api/2.0/mlflow/{what}", json=body, headers=headers)

    def ask(self, what: str, workspace: str) -> tuple[str, str, dict[str, Any]]:
        """Method, path and body or query of one thing that a person does."""
        experiment = {"experiment_id": self.experiments[workspace]}
        tag = {"key": "k", "value": "v"}
        return {
            "list experiments": ("POST", "experiments/search", {"max_results": 10}),
            "read the experiment": ("GET", "experiments/get", experiment),
            "write to the experiment": ("POST", "experiments/set-experiment-tag", experiment | tag),
            "delete the experiment": ("POST", "experiments/delete", experiment),
            "create an experiment": ("POST", "experiments/create", {"name": f"new-{next(_numbers)}"}),
            "read the model": ("GET", "registered-models/get", {"name": "m"}),
            "write to the model": ("POST", "registered-models/set-tag", {"name": "m"} | tag),
            "delete the model": ("DELETE", "registered-models/delete", {"name": "m"}),
        }[what]

    def mend(self, what: str, workspace: str) -> None:
        """What was deleted is there again for the next."""
        if what == "delete the model":
            self.make("registered-models/create", workspace, name="m")
        elif what == "delete the experiment":
            self.make("experiments/restore", workspace, experiment_id=self.experiments[workspace])


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest,
    make_module_server: MakeServer,
    provider: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MlflowServer]:
    """An empty database: MLflow makes its tables, we ours. On MariaDB its migration fails."""
    named = {}
    if request.param != "sqlite":
        named["database_uri"] = databases.running(request.param).fresh()
    if request.param == "mariadb":
        home = tmp_path_factory.mktemp("tables")
        venvs.output(VERSION, "make_auth_tables.py", named["database_uri"], home=home)
    return make_module_server(
        VERSION,
        provider.issuer,
        workers=2,
        fresh=True,
        settings=settings_for(provider.issuer, OIDC_ROLES=ROLES, OIDC_SESSION_CACHE_SECONDS="0"),
        more=["--enable-workspaces"],
        **named,
    )


@pytest.fixture(scope="module")
def things(server: MlflowServer) -> Things:
    return Things(server)


@pytest.fixture
def sign_in(server: MlflowServer, provider: Provider) -> Callable[..., Browser]:
    def sign_in(name: str, groups: list[str]) -> Browser:
        provider.put_user(f"team-{name}", groups=groups)
        browser = Browser(server)
        browser.login(provider, f"team-{name}")
        assert browser.signed_in()["username"] == f"team-{name}@example.org"
        return browser

    return sign_in


def tried(browser: Browser, things: Things, what: str, workspace: str) -> str:
    method, path, body = things.ask(what, workspace)
    sent = {"params": body} if method == "GET" else {"json": body}
    answer = browser.xhr(method, f"{AJAX}/{path}", headers={"X-MLFLOW-WORKSPACE": workspace}, **sent)
    if answer.status_code == 200:
        things.mend(what, workspace)
    if what == "list experiments" and answer.status_code == 200:
        # MLflow answers everybody, and leaves out what they may not read.
        return "yes" if answer.json().get("experiments") else "no"
    return {200: "yes", 403: "no"}.get(answer.status_code, f"{answer.status_code} {answer.text[:200]}")


def rows() -> list[tuple[str, str, dict[str, str]]]:
    head, *lines = TABLE.strip("\n").splitlines()
    names = head.split()
    found = []
    for line in lines:
        workspace, rest = line.split(maxsplit=1)
        *words, _, _, _ = rest.split()
        found.append((workspace, " ".join(words), dict(zip(names, rest.split()[-3:], strict=True))))
    return found


def written(cells: list[tuple[str, str, dict[str, str]]]) -> str:
    """The same form as the table, for whoever reads a failure."""
    lines = [f"{'':43}{'alice':7}{'bob':7}carol"]
    for workspace, what, answers in cells:
        told = "".join(f"{answers[name]:7}" for name in WHO)
        lines.append(f"{workspace:13}{what:30}{told}".rstrip())
    return "\n".join(["", *lines, ""])


def test_each_may_do_to_each_thing_what_their_groups_give(
    server: MlflowServer, things: Things, sign_in: Callable[..., Browser]
) -> None:
    browsers = {name: sign_in(name, groups) for name, groups in WHO.items()}
    found = [
        (workspace, what, {name: tried(browsers[name], things, what, workspace) for name in WHO})
        for workspace, what, _ in rows()
    ]
    assert written(found) == TABLE


def test_whoever_changes_the_team_has_the_other_rights_at_once(
    things: Things, sign_in: Callable[..., Browser]
) -> None:
    browser = sign_in("dora", WHO["alice"])
    assert tried(browser, things, "write to the experiment", "research") == "yes"
    assert tried(browser, things, "write to the model", "production") == "no"
    sign_in("dora", WHO["bob"])
    # The old session as well: it is the person who has moved.
    assert tried(browser, things, "write to the experiment", "research") == "no"
    assert tried(browser, things, "write to the model", "production") == "yes"
