"""Keycloak: the oldest that is promised, and the newest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cases import Cases
from conftest import running
from support.real import Homes, RealProvider
from support.real.keycloak import JAVAS, Keycloak


@pytest.fixture(scope="module", params=JAVAS)
def real(
    request: pytest.FixtureRequest, homes: Homes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealProvider]:
    yield from running(Keycloak(request.param, homes, tmp_path_factory.mktemp("keycloak-")))


class TestKeycloak(Cases):
    """The cases of all providers."""
