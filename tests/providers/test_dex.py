"""Dex, with a company's provider behind it, goes through what every provider goes through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import running

from cases import Cases
from support.real import Homes
from support.real.dex import Dex


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> Iterator[Dex]:
    made = Dex(tmp_path_factory.mktemp("dex-"), homes)
    yield from running(made)


class TestDex(Cases):
    """The cases of all providers."""
