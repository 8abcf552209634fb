"""panva's certified oidc-provider, run by tests/providers/oidc-provider/server.mjs on a loopback port."""

from __future__ import annotations

import base64
import hashlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from playwright.sync_api import Page, expect

from support import ports, processes, venvs, wire
from support.real import PEOPLE, PROVIDERS, USERS, Homes, Person, RealProvider, absent, token_answer
from support.real.visitor import Visitor

FOLDER = PROVIDERS / "oidc-provider"
SERVER = venvs.REPOSITORY / "tests" / "providers" / "oidc-provider" / "server.mjs"

# What MLflow's API is called at this provider: the audience of the tokens that programs send to it.
API = "urn:mlflow"
# A program of a person's on their own machine: it has no secret, and opens a browser.
TOOL = "command-line"
NOWHERE = "http://127.0.0.1:9/never-called"
SCOPES = "openid email profile groups"


def require_node() -> None:
    if shutil.which("node") is None:
        absent("no node on the PATH: oidc-provider is a program of Node.js")


class Process:
    """The server, and the one document that says who may come in; a change counts at the next request."""

    def __init__(self, folder: Path) -> None:
        self.port, self._door = ports.free(), ports.free()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.log = folder / "oidc-provider.log"
        self.document: dict[str, Any] = {
            "keys": [{"kid": "first-RS256", "alg": "RS256"}],
            "clients": [],
            "people": {},
            "services": {},
            "withoutPkce": [],
            "conformIdTokenClaims": True,
            "clientAuthMethods": ["client_secret_basic", "client_secret_post", "none"],
            "api": API,
            "askConsent": False,
            "reachInside": [],
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["node", str(SERVER), self.issuer, str(self.port), str(self._door)],
                cwd=FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.tell()
                return self
            except requests.ConnectionError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise AssertionError(f"oidc-provider did not start:\n{self.log.read_text()}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            processes.end_group(self._process)
            self._process = None

    def tell(self, **changes: Any) -> None:
        """Puts the document, with these members changed, through the door."""
        self.document.update(changes)
        answer = wire.send("PUT", f"http://127.0.0.1:{self._door}/", json=self.document)
        assert answer.status_code == 204, answer.text

    def put_client(self, client_id: str, **metadata: Any) -> None:
        """Registers a client, or registers it anew; members of None are left out."""
        others = [one for one in self.document["clients"] if one["client_id"] != client_id]
        made = {"client_id": client_id, **metadata}
        self.tell(clients=[*others, {name: value for name, value in made.items() if value is not None}])

    def put_person(self, login: str, password: str, **claims: Any) -> None:
        """By default with a verified address that is made of the login."""
        known = {"email": f"{login}@example.org", "email_verified": True, "name": login.title(), **claims}
        self.tell(people={**self.document["people"], login: {"password": password, "claims": known}})

    def put_tool(self) -> None:
        """The client that `tokens_of` is."""
        self.put_client(TOOL, token_endpoint_auth_method="none", redirect_uris=[NOWHERE])

    def put_service(self, client_id: str, secret: str, claims: Mapping[str, Any]) -> None:
        """A client of programs, and what its tokens say beside the client's name."""
        self.document["services"] = {**self.document["services"], client_id: dict(claims)}
        self.put_client(
            client_id,
            client_secret=secret,
            grant_types=["client_credentials"],
            redirect_uris=[],
            response_types=[],
        )

    def rotate(self, algorithm: str = "RS256") -> str:
        """A new key signs from now on, and the one before can still be looked up; its id is returned."""
        old: list[dict[str, str]] = self.document["keys"]
        kid = f"key-{time.monotonic_ns()}"
        others = [one for one in old if one["alg"] != algorithm]
        before = [one for one in old if one["alg"] == algorithm][:1]
        self.tell(keys=[{"kid": kid, "alg": algorithm}, *before, *others])
        return kid

    def remove_old_keys(self) -> None:
        """Of each algorithm only the first, which signs, is left."""
        first: dict[str, dict[str, str]] = {}
        for one in self.document["keys"]:
            first.setdefault(one["alg"], one)
        self.tell(keys=list(first.values()))

    def service_token(self, client_id: str, secret: str) -> str:
        """By client credentials."""
        answer = wire.send(
            "POST",
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials"},
            auth=(client_id, secret),
        )
        return str(token_answer(answer)["access_token"])

    def tokens_of(self, login: str, password: str, resource: str | None = None) -> dict[str, Any]:
        """What the tool gets for that person: code flow with PKCE, through the form; needs `put_tool`."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        asked = {"response_type": "code", "client_id": TOOL, "redirect_uri": NOWHERE, "scope": SCOPES}
        asked |= {"code_challenge": challenge.decode(), "code_challenge_method": "S256"}
        more = {"resource": resource} if resource else {}
        visitor = Visitor()
        form = visitor.open(f"{self.issuer}/auth?{urlencode(asked | more)}")
        visitor.submit(
            form, login=login, password=password, action="continue", stop=lambda url: url.startswith(NOWHERE)
        )
        answer = parse_qs(urlsplit(visitor.at).query)
        sent = {"grant_type": "authorization_code", "client_id": TOOL, "redirect_uri": NOWHERE}
        sent |= {"code": answer["code"][0], "code_verifier": verifier}
        return token_answer(wire.send("POST", f"{self.issuer}/token", data=sent | more))


class OidcProvider(RealProvider):
    """The provider by itself, with MLflow as a confidential and as a public client."""

    name = "oidc-provider"
    version = "9.13.3"
    client_secret = "mlflow: its secret + 50%"
    service = ("pipelines", "pipelines-secret")

    def __init__(self, folder: Path, homes: Homes) -> None:
        self.process = Process(folder)
        self.issuer, self.log = self.process.issuer, self.process.log
        self._homes = homes

    def require(self) -> None:
        super().require()
        require_node()

    def start(self) -> None:
        self.process.start()
        for client_id, home, secret in (
            ("mlflow", self._homes.confidential, self.client_secret),
            ("mlflow-public", self._homes.public, None),
        ):
            self.process.put_client(
                client_id,
                client_secret=secret,
                token_endpoint_auth_method="client_secret_basic" if secret else "none",
                redirect_uris=[f"{home}/oidc/callback"],
                post_logout_redirect_uris=[f"{home}/oidc/logout"],
                backchannel_logout_uri=f"{home}/oidc/backchannel-logout",
            )
        self.process.tell(reachInside=[f"{home}/oidc/backchannel-logout" for home in self._homes])
        self.process.put_tool()
        self.process.put_service(*self.service, {"email": self.service_username, "groups": [USERS]})
        for person in PEOPLE:
            self.set_groups(person, person.groups)

    def stop(self) -> None:
        self.process.stop()

    def settings(self) -> dict[str, str]:
        return {
            "OIDC_ISSUER_URL": self.issuer,
            "OIDC_CLIENT_ID": "mlflow",
            "OIDC_CLIENT_SECRET": self.client_secret,
            "OIDC_SCOPES": SCOPES,
            "OIDC_AUDIENCE": API,
        }

    def settings_of_public_client(self) -> dict[str, str]:
        known = {**self.settings(), "OIDC_CLIENT_ID": "mlflow-public"}
        del known["OIDC_CLIENT_SECRET"]
        return known

    def wait_for_form(self, page: Page) -> None:
        page.wait_for_url(f"{self.issuer}/interaction/**")
        expect(page.get_by_label("Password")).to_be_visible()

    def sign_in(self, page: Page, person: Person) -> None:
        page.get_by_label("Login").fill(person.name)
        page.get_by_label("Password").fill(person.password)
        page.get_by_role("button", name="Continue").click()

    def sign_out(self, page: Page) -> None:
        page.goto(f"{self.issuer}/session/end")
        self.confirm_sign_out(page)
        page.wait_for_url(f"{self.issuer}/session/end/success")

    def confirm_sign_out(self, page: Page) -> None:
        page.wait_for_url(f"{self.issuer}/session/end**")
        page.get_by_role("button", name="Yes, sign me out").click()

    def set_groups(self, person: Person, groups: tuple[str, ...]) -> None:
        self.process.put_person(person.name, person.password, email=person.email, groups=list(groups))

    def user_token(self, person: Person) -> str:
        return str(self.process.tokens_of(person.name, person.password, API)["access_token"])

    def service_token(self) -> str:
        return self.process.service_token(*self.service)

    @property
    def service_username(self) -> str:
        return "pipelines@example.org"

    def rotate_keys(self) -> None:
        self.process.rotate()

    def remove_old_keys(self) -> None:
        self.process.remove_old_keys()
