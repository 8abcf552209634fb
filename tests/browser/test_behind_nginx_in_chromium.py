"""A real browser before nginx before two MLflow servers: TLS, a path, Secure cookies."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Browser, expect

from support.behind import Behind
from support.chromium import ARGUMENTS, CHROMIUM, log_in, shoot
from support.nginx import NAME, PUBLIC
from support.provider import Provider

Person = Callable[..., str]


def test_a_person_logs_in_and_makes_an_experiment(
    chromium: Browser, here: Behind, provider: Provider, person: Person
) -> None:
    """What the UI writes has an Origin, and its pages come from both servers."""
    # No resolver knows the name: what another browser asks a resolver, this one is told.
    launched = chromium.browser_type.launch(
        executable_path=CHROMIUM,
        args=[*ARGUMENTS, f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{here.proxy.port}"],
    )
    try:
        # The certificate is checked by test_behind_nginx.py; a browser takes an authority from a store alone.
        context = launched.new_context(ignore_https_errors=True, viewport={"width": 1100, "height": 720})
        context.set_default_timeout(20_000)
        page = context.new_page()
        answers: list[tuple[int, str]] = []
        page.on("response", lambda answer: answers.append((answer.status, answer.url)))
        alice = person("alice")
        page.goto(f"{PUBLIC}/#/experiments", wait_until="commit")
        log_in(page, provider, alice)
        page.wait_for_url(re.compile(re.escape(f"{PUBLIC}/#/experiments") + ".*"))
        expect(page.get_by_text("Default").first).to_be_visible()
        page.get_by_role("button", name="Create", exact=True).first.click()
        page.get_by_placeholder("Input an experiment name").fill(f"by {alice}")
        page.get_by_role("dialog").get_by_role("button", name="Create").click()
        expect(page.get_by_text(f"by {alice}").first).to_be_visible()
        shoot(page, "mlflow-behind-nginx")
        (cookie,) = context.cookies(f"{PUBLIC}/")
        assert (cookie["name"], cookie["secure"], cookie["path"]) == (
            "__Secure-mlflow_oidc",
            True,
            "/mlflow/",
        )
        # (MLflow's dialog asks whether the name is taken: 404 says that it is free.)
        assert not [one for one in answers if NAME in one[1] and (one[0] in (401, 403) or one[0] >= 500)]
    finally:
        launched.close()
    names = [row[0] for row in here.servers[0].rows("SELECT name FROM experiments", database="mlflow.db")]
    assert f"by {alice}" in names
