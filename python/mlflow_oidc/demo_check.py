"""The unattended walk through the demo: people log in by HTTP as a browser would, a program by bearer token.

Each thing seen is one line with a tick or a cross. The last line counts them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from mlflow_oidc import demo_snippets
from mlflow_oidc.demo_browser import Answer, Browser, id_token, plain
from mlflow_oidc.demo_people import ADA, ALICE, GROUP, MALLORY, Person
from mlflow_oidc.demo_servers import Servers, environment, tail

# A program that imports MLflow, on a machine that does other things too.
CLIENT_SECONDS = 300
# Run by a Python of its own, as a training script would be: nothing of ours is imported there.
CLIENT = """
import json, mlflow
from mlflow import MlflowClient
client = MlflowClient()
experiment = client.create_experiment("mlflow-oidc demo")
run = client.create_run(experiment).info.run_id
client.log_param(run, "model", "linear")
client.log_metric(run, "accuracy", 0.93)
client.log_text(run, "written with a bearer token", "notes/hello.txt")
client.set_terminated(run)
back = client.get_run(run)
text = mlflow.artifacts.load_text(back.info.artifact_uri + "/notes/hello.txt")
print(json.dumps({"run": run, "metrics": back.data.metrics, "status": back.info.status, "text": text}))
"""


class Report:
    """What was seen, line by line as it happens, and how much of it was as it should be."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def see(self, what: str, good: object, saw: object = "") -> None:
        """One line; with what was seen instead when it is not good."""
        if good:
            self.passed += 1
        else:
            self.failed += 1
            what = f"{what}\n      but saw: {saw}"
        encoding = sys.stdout.encoding or "ascii"
        mark = ("✓" if good else "✗") if "✓".encode(encoding, "ignore") else ("ok  " if good else "FAIL")
        print(f"  {mark} {what}", flush=True)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """A heading. What breaks inside is a failure of this part, and the other parts are still walked."""
        print(f"{title}", flush=True)
        try:
            yield
        except Exception as fault:
            self.see("this part comes to its end", False, f"{type(fault).__name__}: {fault}")


def walk(servers: Servers) -> int:
    """All of it; 0 when everything was as it should be."""
    report = Report()
    begin = time.monotonic()
    browsers = {person: Browser() for person in (ALICE, ADA, MALLORY)}
    with report.part("Nobody"):
        _nobody(report, servers)
    with report.part(f"{ALICE.email} in a browser"):
        _enters(report, servers, browsers[ALICE], ALICE, admin=False)
        others = _user(browsers[ALICE], servers, ADA)
        report.see("may not look at the account of another", others.status in (403, 404), _short(others))
    with report.part(f"{ADA.email} in a browser"):
        _enters(report, servers, browsers[ADA], ADA, admin=True)
        others = _user(browsers[ADA], servers, ALICE)
        report.see("may look at the account of another", others.status == 200, _short(others))
    with report.part(f"{MALLORY.email} in a browser"):
        _stays_outside(report, servers, browsers[MALLORY], administrator=browsers[ADA])
    with report.part(f"{ALICE.email} with MlflowClient and a bearer token"):
        run = _logs_a_run(report, servers)
        shown = browsers[ALICE].call(f"{servers.mlflow}/api/2.0/mlflow/runs/get?run_id={run}")
        report.see("the browser of the same person shows that run", shown.status == 200, _short(shown))
    with report.part("What the demo prints for pasting into a shell"):
        _pasted(report, servers)
    with report.part(f"{ALICE.email} signs out"):
        _leaves(report, servers, browsers[ALICE])
    with report.part("Cookies"):
        most = max(browser.most_cookies_set for browser in browsers.values())
        report.see("no answer set more than one", most == 1, f"{most} in one answer")

    if report.failed:
        for process in servers.processes:
            print(tail(process.log))
    print(f"The walk took {time.monotonic() - begin:.0f} s with MLflow {servers.mlflow_version}.")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


def _nobody(report: Report, servers: Servers) -> None:
    answer = plain(f"{servers.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0")
    code = (answer.json or {}).get("error_code")
    report.see(
        "an API call without credentials is refused as JSON (401)",
        answer.status == 401 and code,
        _short(answer),
    )
    challenges = answer.headers.get_all("WWW-Authenticate") or []
    report.see("it is told how to come in: Bearer", [c[:6] for c in challenges] == ["Bearer"], challenges)
    report.see(
        "and is given no cookie", "Set-Cookie" not in answer.headers, answer.headers.get_all("Set-Cookie")
    )


def _enters(report: Report, servers: Servers, browser: Browser, person: Person, *, admin: bool) -> None:
    page = _through_the_provider(report, servers, browser, person)
    report.see(
        "is back at the page that was asked for", page.path == "/?from=demo", f"{page.status} {page.url}"
    )
    report.see(
        "and sees MLflow's own page", page.status == 200 and "mlflow" in page.text.lower(), _short(page)
    )
    session = browser.call(f"{servers.mlflow}/oidc/session").json or {}
    report.see(
        f"is in the groups {list(person.groups)}", session.get("groups") == list(person.groups), session
    )
    user = _current_user(browser, servers, person)
    role = "an administrator" if admin else "a plain user"
    good = user.get("username") == person.email and user.get("is_admin") is admin
    report.see(f"is {role} to MLflow, by the name {person.email}", good, user)


def _through_the_provider(report: Report, servers: Servers, browser: Browser, person: Person) -> Answer:
    """From the address bar to the page that the provider sends the browser back to."""
    page = browser.open(f"{servers.mlflow}/?from=demo")
    report.see(
        "is shown the sign-in page", page.status == 200 and page.path.startswith("/oidc/login?"), _short(page)
    )
    form = browser.open(page.link("go=1"), coming_from=page.url)
    report.see(
        "is sent on to the provider", form.url.startswith(servers.provider), f"{form.status} {form.url}"
    )
    return browser.submit(form, {"sub": person.email})


def _stays_outside(report: Report, servers: Servers, browser: Browser, administrator: Browser) -> None:
    page = _through_the_provider(report, servers, browser, MALLORY)
    html = "text/html" in (page.headers.get("Content-Type") or "")
    report.see("is shown a page that says no (403)", page.status == 403 and html, _short(page))
    report.see(f"which names the missing group {GROUP}", GROUP in page.text, _short(page))
    again = browser.call(f"{servers.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0")
    report.see("and has no session", again.status == 401, _short(again))
    row = _user(administrator, servers, MALLORY)
    report.see("MLflow has no such user", row.status == 404, _short(row))


def _logs_a_run(report: Report, servers: Servers) -> str:
    credentials = {
        "MLFLOW_TRACKING_URI": servers.mlflow,
        "MLFLOW_TRACKING_TOKEN": id_token(servers, ALICE.email),
    }
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        cwd=servers.folder,
        env=environment(servers.folder) | credentials,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    report.see("a run is logged", done.returncode == 0, done.stderr[-2000:])
    back: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report.see("its metric is read back", back["metrics"] == {"accuracy": 0.93}, back)
    report.see("and so is its artifact", back["text"] == "written with a bearer token", back)
    return str(back["run"])


def _pasted(report: Report, servers: Servers) -> None:
    token = id_token(servers, ALICE.email)
    logged = _shell(servers, demo_snippets.python(servers, token))
    report.see("the Python snippet logs a run", "logged run " in logged.stdout, logged.stderr[-2000:])
    if shutil.which("curl"):
        listed = _shell(servers, demo_snippets.curl(servers, token))
        report.see(
            "the curl line lists its experiment", '"from Python"' in listed.stdout, listed.stdout[-300:]
        )


def _shell(servers: Servers, text: str) -> subprocess.CompletedProcess[str]:
    """As somebody at a terminal would run it, but with an environment in which nothing else is set."""
    return subprocess.run(
        ["/bin/sh", "-c", text],
        cwd=servers.folder,
        env=environment(servers.folder),
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )


def _leaves(report: Report, servers: Servers, browser: Browser) -> None:
    confirm = browser.open(f"{servers.mlflow}/oidc/logout")
    report.see("is asked first", confirm.status == 200 and "<form" in confirm.text, _short(confirm))
    page = browser.submit(confirm, {})
    there = page.url.startswith(f"{servers.provider}/")
    report.see("and goes on to the provider's own sign-out", page.status == 200 and there, _short(page))
    session = browser.call(f"{servers.mlflow}/oidc/session")
    report.see("the session has ended", session.status == 401, _short(session))
    user = _user(browser, servers, ALICE)
    report.see("and the API asks who is there", user.status == 401, _short(user))


def _current_user(browser: Browser, servers: Servers, person: Person) -> dict[str, Any]:
    """What MLflow itself says. Before 3.13 it has no `current`, but people may ask for their own account."""
    answer = browser.call(f"{servers.mlflow}/api/2.0/mlflow/users/current")
    if answer.status != 200:
        answer = _user(browser, servers, person)
    found: dict[str, Any] = answer.json or {}
    # 3.13 answers with the user's own members, the others with a member `user`.
    return dict(found.get("user") or found)


def _user(browser: Browser, servers: Servers, person: Person) -> Answer:
    return browser.call(f"{servers.mlflow}/api/2.0/mlflow/users/get?username={quote(person.email)}")


def _short(answer: Answer) -> str:
    return f"{answer.status} at {answer.path[:200]}: {' '.join(answer.text.split())[:300]}"
