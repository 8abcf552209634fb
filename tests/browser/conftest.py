"""Fixtures of the tests with a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from support.chromium import ARGUMENTS, CHROMIUM, OtherSite


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        told = f"no {CHROMIUM}: `apt-get install chromium` puts it there"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A browser that has never been here. The mock's pages ask a CDN for a stylesheet: nobody waits."""
    made = chromium.new_context(
        java_script_enabled=getattr(request, "param", True), viewport={"width": 1100, "height": 720}
    )
    made.route(
        lambda url: urlsplit(url).hostname not in ("127.0.0.1", "localhost"), lambda route: route.abort()
    )
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def other_site() -> Iterator[OtherSite]:
    made = OtherSite()
    yield made
    made.stop()
