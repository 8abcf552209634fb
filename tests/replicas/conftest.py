"""The cluster of all tests in this folder; each test has people of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import cluster
import pytest
from cluster import Cluster

from support import databases
from support.provider import Provider
from support.server import MakeServer


@pytest.fixture(scope="module")
def replicas(
    make_module_server: MakeServer, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    database = databases.running("postgresql")
    assert isinstance(database, databases.PostgreSQL)
    folder = tmp_path_factory.mktemp("replicas")
    with cluster.running(make_module_server, provider, database, folder) as made:
        yield made
