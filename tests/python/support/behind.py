"""Two MLflow servers with one set of databases behind one nginx, as docs/behind-a-proxy.md describes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import nginx
from support.browser import Browser
from support.nginx import NAME, PREFIX, PUBLIC, Nginx
from support.provider import Provider
from support.server import MakeServer, MlflowServer, settings_for

ORIGIN = f"https://{NAME}"
VERSION = "3.17.2"
# The flags of the README, for a public name.
FLAGS = ["--allowed-hosts", NAME, "--cors-allowed-origins", ORIGIN]
SESSION_CACHE_SECONDS = 1


@dataclass
class Behind:
    """What stands there."""

    proxy: Nginx
    servers: tuple[MlflowServer, MlflowServer]

    def browser(self) -> Browser:
        return Browser(self.servers[0], public=ORIGIN, way=self.proxy.way)


@contextmanager
def two_servers(make: MakeServer, provider: Provider, folder: Path) -> Iterator[Behind]:
    nginx.program()
    settings = settings_for(
        provider.issuer,
        OIDC_PUBLIC_URL=PUBLIC,
        OIDC_SESSION_CACHE_SECONDS=str(SESSION_CACHE_SECONDS),
    )
    first = make(VERSION, provider.issuer, settings=settings, prefix=PREFIX, more=FLAGS)
    second = make(
        VERSION,
        provider.issuer,
        settings=settings,
        prefix=PREFIX,
        more=FLAGS,
        folder=first.folder,
        fresh=True,
    )
    with nginx.running(folder, (first.port, second.port)) as proxy:
        yield Behind(proxy, (first, second))
