"""What the tests in tests/browser do with a page of a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from support import ports, venvs
from support.provider import Provider

SCREENSHOTS = venvs.REPOSITORY / "build" / "screenshots"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Chromium keeps others away from this machine's addresses, and would hide what our own guards do.
    "--disable-features=LocalNetworkAccessChecks",
]


def launched() -> Iterator[Browser]:
    """One browser for a whole run; a missing one is a skip for a developer, and never one for CI."""
    if not CHROMIUM.exists():
        told = f"no {CHROMIUM}: `apt-get install chromium` puts it there"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def fresh_context(browser: Browser, scripts: bool = True) -> Iterator[BrowserContext]:
    """A browser that has never been here. Pages that ask a CDN for a stylesheet: nobody waits."""
    made = browser.new_context(java_script_enabled=scripts, viewport={"width": 1100, "height": 720})
    made.route(
        lambda url: urlsplit(url).hostname not in ("127.0.0.1", "localhost"), lambda route: route.abort()
    )
    made.set_default_timeout(20_000)
    yield made
    made.close()


def log_in(page: Page, provider: Provider, subject: str) -> None:
    """At the mock's own form, as a person would."""
    page.wait_for_url(f"{provider.issuer}/oauth2/authorize**", wait_until="commit")
    page.fill('input[name="sub"]', subject)
    page.click('button:has-text("Authorize")')


def begun(context: BrowserContext, url: str, query: str = "") -> str:
    """Begins a login without opening a page; the address of the provider's form."""
    answer = context.request.get(f"{url}/oidc/login?{query}&go=1", max_redirects=0)
    assert answer.status == 302, answer.text()
    return answer.headers["location"]


def state_of(form_address: str) -> str:
    return parse_qs(urlsplit(form_address).query)["state"][0]


def authorized(context: BrowserContext, form_address: str, subject: str) -> str:
    """Says at the provider who is there, without opening its form; the callback's address, not opened."""
    answer = context.request.post(form_address, form={"sub": subject}, max_redirects=0)
    assert answer.status == 302, answer.text()
    return answer.headers["location"]


def signed_in(context: BrowserContext, url: str, subject: str) -> None:
    """A whole login, without opening a page."""
    callback = authorized(context, begun(context, url), subject)
    answer = context.request.get(callback, max_redirects=0)
    assert answer.status == 302, answer.text()


def shoot(page: Page, name: str) -> None:
    """A picture for people to look at. On a busy machine Chromium sometimes has no frame for it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for left in (2, 1, 0):
        try:
            page.screenshot(path=SCREENSHOTS / f"{name}.png")
            return
        except Error as fault:
            if not left or "Unable to capture screenshot" not in fault.message:
                raise
            page.wait_for_timeout(500)


def faults_of(page: Page) -> list[str]:
    """What the browser's console complains about, such as a policy that blocks our own script."""
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.append(str(error)))
    return seen


class OtherSite:
    """A server of somebody else on this machine: another origin, and to cookies the same site."""

    def __init__(self) -> None:
        self.port = ports.free()
        # By address it is a sibling of an MLflow at 127.0.0.1, by name another site altogether.
        self.sibling = f"http://127.0.0.1:{self.port}"
        self.stranger = f"http://localhost:{self.port}"
        self.html = ""
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(f"{self.command} {self.path}")
                body = site.html.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Kept in `asked`, not printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
