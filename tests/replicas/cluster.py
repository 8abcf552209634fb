"""Three MLflow servers with two workers each, one PostgreSQL for all their rows, nginx in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from support import nginx
from support.browser import Browser
from support.databases import PostgreSQL
from support.nginx import NAME, PREFIX, PUBLIC, Nginx
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

VERSION = "3.17.2"
ORIGIN = f"https://{NAME}"
FLAGS = ["--allowed-hosts", NAME, "--cors-allowed-origins", ORIGIN]
SERVERS = 3
WORKERS = 2
SESSION_CACHE_SECONDS = 1
# What MLflow gives everybody else here is READ (`default_permission`).
ROLES = """
editors =
    group editors
    experiment * EDIT
readers =
    everyone
    experiment * READ
"""


@dataclass
class Cluster:
    """What stands there."""

    database: PostgreSQL
    auth: str
    proxy: Nginx
    servers: list[MlflowServer]

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    def browser(self) -> Browser:
        return Browser(self.servers[0], public=ORIGIN, way=self.proxy.way)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read past all servers."""
        address = self.auth.replace("postgresql+psycopg2", "postgresql", 1)
        with psycopg2.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()


@contextmanager
def running(
    make: MakeServer, provider: Provider, database: PostgreSQL, folder: Path, **more: str
) -> Iterator[Cluster]:
    nginx.program()
    auth, tracking = database.fresh(), database.fresh()
    settings = settings_for(
        provider.issuer,
        OIDC_PUBLIC_URL=PUBLIC,
        OIDC_SESSION_CACHE_SECONDS=str(SESSION_CACHE_SECONDS),
        OIDC_ROLES=ROLES,
        **more,
    )
    servers: list[MlflowServer] = []
    # One after the other: MLflow's own migrations take no lock, and would meet in an empty database.
    for _ in range(SERVERS):
        servers.append(
            make(
                VERSION,
                provider.issuer,
                settings=settings,
                workers=WORKERS,
                prefix=PREFIX,
                more=FLAGS,
                database_uri=auth,
                backend_store_uri=tracking,
                fresh=True,
            )
        )
    for server in servers:
        # What MLflow itself writes when its database does not answer.
        server.excused |= {"psycopg2.OperationalError: ", "sqlalchemy.exc."}
    with nginx.running(folder, tuple(server.port for server in servers)) as proxy:
        yield Cluster(database, auth, proxy, servers)
    for server in servers:
        tracebacks = server.log_text().split("Traceback")[1:]
        ours = [text[:4000] for text in tracebacks if "mlflow_oidc/" in text.partition("\n20")[0]]
        assert not ours, ours[0]
