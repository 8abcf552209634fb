"""panva's oidc-provider goes through what every provider goes through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import running

from cases import Cases
from support.real import Homes, RealProvider
from support.real.oidc_provider import OidcProvider


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, homes: Homes) -> Iterator[RealProvider]:
    yield from running(OidcProvider(tmp_path_factory.mktemp("oidc-provider-"), homes))


class TestOidcProvider(Cases):
    """The cases of all providers."""
