"""Providers that cannot be run here, by the documented shape of their metadata, keys and tokens, over HTTP.

The files of `tests/vectors/providers` are the same that `tests/rust/rules/shapes.rs` tries in the core. There
is no Entra ID, Okta or Google on loopback: a provider of ours answers at their addresses, moved to it.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import browser as browsers
from support import tokens, venvs, wire
from support.browser import Browser
from support.engines import Engines
from support.provider import CLIENT_SECRET
from support.scripted import Answer, ScriptedProvider
from support.server import ADMIN, SESSION_SECRET, MakeServer

FOLDER = venvs.REPOSITORY / "tests" / "vectors" / "providers"
FILES = sorted(FOLDER.glob("*.json"))
RECIPE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Where the page of the provider stands under another name.
GRAPH = "graph.microsoft.com"


def shapes() -> list[Any]:
    """One parameter for each shape, in the order of the files."""
    rows = []
    for file in FILES:
        provider = json.loads(file.read_text())
        rows += [
            pytest.param(provider, shape, id=f"{file.stem}: {shape['name']}") for shape in provider["shapes"]
        ]
    return rows


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    running = ScriptedProvider().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def engines(make_module_server: MakeServer, provider: ScriptedProvider) -> Engines:
    return Engines(make_module_server, "3.17.2", provider.issuer)


@pytest.mark.parametrize(("documented", "shape"), shapes())
def test_the_shape_is_understood(
    engines: Engines, provider: ScriptedProvider, documented: dict[str, Any], shape: dict[str, Any]
) -> None:
    here = Here(provider, documented, shape)
    here.publish()
    forget_everybody(engines)
    engines.fresh(
        {"OIDC_CLIENT_SECRET": CLIENT_SECRET, "OIDC_SESSION_SECRET": SESSION_SECRET, **here.settings}
    )
    tried = 0
    for place, way in (("login", here.login), ("bearer_is", here.call)):
        if place in shape:
            assert way(engines) == shape[place]
            tried += 1
    assert tried, "a shape that says nothing"


def forget_everybody(engines: Engines) -> None:
    """The same name at two providers is two people, and the second would be refused."""
    for database, table, kept in (
        ("basic_auth.db", "users", f"username = '{ADMIN[0]}'"),
        ("basic_auth.db-oidc", "oidc_identities", "false"),
    ):
        path = engines.server.folder / database
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            # Ours is made by the first engine.
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                connection.execute(f"DELETE FROM {table} WHERE NOT {kept}")


class Here:
    """A shape whose addresses are on loopback: `https://HOST/...` is `/HOST/...` of the provider there."""

    def __init__(self, provider: ScriptedProvider, documented: dict[str, Any], shape: dict[str, Any]) -> None:
        self.provider = provider
        self.documented, self.shape = (
            json.loads(self._moved(json.dumps(part))) for part in (documented, shape)
        )
        self.settings: dict[str, str] = {**self.documented["settings"], **self.shape.get("settings", {})}
        self.metadata = self.shape.get("metadata", self.documented["metadata"])
        self.key = tokens.Key(tokens.Key.rsa().private, self.documented["key"]["kid"])

    def _moved(self, text: str) -> str:
        here = self.provider.issuer
        text = text.replace(f"https://{GRAPH}", here).replace(f'"{GRAPH}"', f'"{urlsplit(here).netloc}"')
        return re.sub(r"https://(?=[a-z0-9.-]+\.(com|net|cloud))", here + "/", text)

    def publish(self) -> None:
        answers: dict[str, Answer | Callable[[], Answer]] = {}

        def at(url: str, body: Any, status: int = 200) -> None:
            parts = urlsplit(url)
            answers[parts.path + (f"?{parts.query}" if parts.query else "")] = Answer(status, body)

        jwk = {**self.key.public_jwk(), **self.documented["key"]["set"]}
        for name in self.documented["key"].get("drop", []):
            jwk.pop(name, None)
        at(self.settings["OIDC_ISSUER_URL"].rstrip("/") + "/.well-known/openid-configuration", self.metadata)
        at(self.metadata["jwks_uri"], {"keys": [jwk]})
        nobody = {"sub": self.shape.get("id_token", {}).get("sub")}
        at(self.metadata["userinfo_endpoint"], self.shape.get("userinfo", nobody))
        for url, answer in self.shape.get("answers", {}).items():
            at(url, answer["json"], answer["status"])
        answers[urlsplit(self.metadata["token_endpoint"]).path] = self._tokens
        self.provider.answers = answers

    def _signed(self, claims: dict[str, Any], **more: Any) -> str:
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 3600}
        return self.key.token({**times, **claims, **more}, **self.shape.get("header", {}))

    def _tokens(self) -> Answer:
        beside = self.shape.get("access_token", "opaque")
        access_token = beside if isinstance(beside, str) else self._signed(beside)
        id_token = self._signed(self.shape["id_token"], nonce=self.provider.nonce)
        return Answer(body={"token_type": "Bearer", "id_token": id_token, "access_token": access_token})

    def login(self, engines: Engines) -> dict[str, Any]:
        """To the provider and back with a code; what came of it."""
        browser = Browser(engines.server)
        asked_at = browser.open(engines.server.url + "/oidc/login?next=/&go=1")
        assert asked_at.headers["Location"].startswith(self.metadata["authorization_endpoint"])
        asked = browsers.query_of(asked_at.headers["Location"])
        self.provider.nonce = asked["nonce"]
        answer = browser.open(f"{engines.server.url}/oidc/callback?code=a-code&state={asked['state']}")
        if answer.status_code != 302:
            (code,) = re.findall(r"Code: ([a-z_]+)", answer.text)
            return {"refused": code}
        return self._known(engines, browser.signed_in()["username"])

    def call(self, engines: Engines) -> dict[str, Any]:
        """An API call with the bearer; what came of it."""
        header = {"Authorization": f"Bearer {self._signed(self.shape['bearer'])}"}
        before = {row[0] for row in engines.server.rows("SELECT username FROM users")}
        path = "/api/2.0/mlflow/experiments/search?max_results=1"
        answer = wire.send("GET", engines.server.url + path, headers=header)
        if answer.status_code != 200:
            return {"refused": answer.json()["code"]}
        expected = self.shape["bearer_is"]["username"]
        new = {row[0] for row in engines.server.rows("SELECT username FROM users")} - before
        assert new <= {expected}, new
        return self._known(engines, expected)

    def _known(self, engines: Engines, username: str) -> dict[str, Any]:
        """What the databases say about somebody."""
        query = "SELECT groups FROM oidc_identities WHERE username = ?"
        ((groups,),) = engines.server.rows(query, username, database="basic_auth.db-oidc")
        return {
            "username": username,
            "groups": json.loads(groups),
            "admin": engines.server.is_admin(username),
        }


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_recipe_in_the_documents_is_what_is_tried(file: Path) -> None:
    """The first block of docs/providers/NAME.md sets the very settings of the file, and the secret."""
    page = (venvs.REPOSITORY / "docs" / "providers" / f"{file.stem}.md").read_text()
    block = RECIPE.search(page)
    assert block, "no recipe"
    exported = dict(re.findall(r"^export (OIDC_[A-Z_]+)=('[^']*'|\S+)", block.group(1), re.MULTILINE))
    told = {name: value.strip("'") for name, value in exported.items()}
    assert told.pop("OIDC_CLIENT_SECRET") == "..."
    assert told.pop("OIDC_PUBLIC_URL") == "https://mlflow.example.com"
    assert told == json.loads(file.read_text())["settings"]
