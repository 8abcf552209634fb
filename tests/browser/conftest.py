"""Fixtures of the tests with a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from support.chromium import OtherSite, fresh_context, launched


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    yield from launched()


@pytest.fixture
def context(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A browser that has never been here."""
    yield from fresh_context(chromium, scripts=getattr(request, "param", True))


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def other_site() -> Iterator[OtherSite]:
    made = OtherSite()
    yield made
    made.stop()
