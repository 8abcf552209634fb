"""Dex, run with examples/dex/config.yaml in front of panva's oidc-provider: as it is mostly used."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import requests
from playwright.sync_api import Page, expect

from support import ports, processes, venvs, wire
from support.real import PEOPLE, PROVIDERS, USERS, Homes, Person, RealProvider, absent, token_answer
from support.real.oidc_provider import Process as Company
from support.real.oidc_provider import require_node

FOLDER = PROVIDERS / "dex"
EXAMPLE = venvs.REPOSITORY / "examples" / "dex" / "config.yaml"

SECRETS = {
    "MLFLOW_CLIENT_SECRET": "mlflow-at-dex:its secret+50%",
    "PIPELINES_CLIENT_SECRET": "pipelines-at-dex-secret",
    "COMPANY_CLIENT_SECRET": "dex-at-the-company-secret",
}
# A client's id and secret.
Auth = tuple[str, str]
PIPELINES = ("pipelines", SECRETS["PIPELINES_CLIENT_SECRET"])
GUEST = ("guest@example.com", "password")
# bcrypt of GUEST's password, from Dex's own example.
GUEST_HASH = "$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
# The scopes of the example's settings; without `groups` Dex tells no groups.
SCOPES = "openid email profile groups"
# A client that has no secret, beside those of the example.
PUBLIC = """staticClients:
  - id: mlflow-public
    name: MLflow without a secret
    public: true
    redirectURIs:
      - {home}/oidc/callback
"""


class Process:
    """The server. What it knows is in its file; for another file it is started again, in half a second."""

    def __init__(self, folder: Path, company: str) -> None:
        self.port = ports.free()
        self.issuer = f"http://127.0.0.1:{self.port}/dex"
        self.log = folder / "dex.log"
        self._folder, self._company = folder, company
        self._process: subprocess.Popen[bytes] | None = None
        self._changes: dict[str, str] = {}

    @property
    def callback(self) -> str:
        """Where the company's provider sends people back to."""
        return f"{self.issuer}/callback"

    def configure(self, changes: dict[str, str]) -> None:
        """From the next start on, with these texts of the example replaced by others."""
        self._changes = changes

    def start(self) -> Process:
        config = self._folder / "config.yaml"
        config.write_text(self._configuration())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["./dex", "serve", str(config)],
                cwd=FOLDER,
                env={"PATH": "/usr/bin:/bin", **SECRETS, "GUEST_PASSWORD_HASH": GUEST_HASH},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Dex did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self._process is not None:
            processes.end_group(self._process)
            self._process = None

    def rotate(self) -> None:
        """Its keys are due: it makes new ones when it starts, and keeps the old ones to be looked up.

        While it runs it looks every 30 seconds whether they are, which is only longer to wait for.
        """
        self._change_keys("next_rotation = '2020-01-01 00:00:00+00:00'")

    def remove_old_keys(self) -> None:
        """As if the tokens that they have signed had expired."""
        self._change_keys("verification_keys = CAST('null' AS BLOB)")

    def _change_keys(self, change: str) -> None:
        self.stop()
        database = sqlite3.connect(self._folder / "dex.db")
        with database:
            assert database.execute(f"UPDATE keys SET {change}").rowcount == 1
        database.close()
        self.start()

    def exchange(self, token: str, auth: Auth | None = PIPELINES, **form: str) -> requests.Response:
        """Token exchange: a token of the company's provider for one of Dex, with at least a scope."""
        return self.token(
            grant_type=EXCHANGE,
            connector_id="company",
            subject_token=token,
            subject_token_type=ID_TOKEN,
            requested_token_type=ID_TOKEN,
            auth=auth,
            **form,
        )

    def token(self, auth: Auth | None = PIPELINES, **form: str) -> requests.Response:
        """What the token endpoint answers. Its 401 has no challenge, which `wire` takes from nobody."""
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{self.issuer}/token", data=form, auth=auth, timeout=30)

    def _configuration(self) -> str:
        """The example, with this machine's addresses in it."""
        text = EXAMPLE.read_text()
        addresses = {
            "https://dex.example.com": f"http://127.0.0.1:{self.port}",
            "https://login.example.com": self._company,
            "127.0.0.1:5556": f"127.0.0.1:{self.port}",
            "/var/lib/dex/dex.db": str(self._folder / "dex.db"),
        }
        for old, new in {**addresses, **self._changes}.items():
            assert old in text, f"the example no longer says {old!r}"
            text = text.replace(old, new)
        return text

    def _answers(self) -> bool:
        try:
            return wire.send("GET", f"{self.issuer}/healthz").status_code == 200
        except requests.ConnectionError:
            return False


class Dex(RealProvider):
    """Dex, with people and groups at the company's provider behind it."""

    name = "dex"
    version = "2.41.1"
    lacks = {
        "service_token": "Dex 2.41 has no client credentials; a program exchanges its token, see below",
        "rp_logout": "Dex 2.41 has no end_session_endpoint",
        "backchannel": "Dex 2.41 keeps no sessions and tells nobody of a sign-out",
    }
    # Somebody in no group has no 'groups' at all in Dex's tokens.
    refusals_of_strangers = ("groups_missing",)
    program = ("nightly", "nightly-secret")

    def __init__(self, folder: Path, homes: Homes, changes: Mapping[str, str] | None = None) -> None:
        """With further texts of the example replaced by others."""
        # It puts claims into the ID token, as most of them do.
        self.company = Company(folder)
        self.process = Process(folder, self.company.issuer)
        self.issuer, self.log = self.process.issuer, self.process.log
        self._homes, self._changes = homes, changes or {}

    def require(self) -> None:
        super().require()
        if not (FOLDER.parent / "oidc-provider" / "made-from").exists():
            absent("no oidc-provider behind Dex: `make test-providers` puts it there")
        require_node()

    def start(self) -> None:
        self.company.document["conformIdTokenClaims"] = False
        # Dex 2.41 sends no code challenge to the provider behind it.
        self.company.document["withoutPkce"] = ["dex"]
        self.company.start()
        self.company.put_client(
            "dex", client_secret=SECRETS["COMPANY_CLIENT_SECRET"], redirect_uris=[self.process.callback]
        )
        self.company.put_tool()
        self.company.put_service(
            *self.program,
            {"email": self.service_username, "email_verified": True, "name": "nightly", "groups": [USERS]},
        )
        for person in PEOPLE:
            self.set_groups(person, person.groups)
        self.process.configure(
            {
                "https://mlflow.example.com": self._homes.confidential,
                "staticClients:\n": PUBLIC.format(home=self._homes.public),
                **self._changes,
            }
        )
        self.process.start()

    def stop(self) -> None:
        self.process.stop()
        self.company.stop()

    def settings(self) -> dict[str, str]:
        return {
            "OIDC_ISSUER_URL": self.issuer,
            "OIDC_CLIENT_ID": "mlflow",
            "OIDC_CLIENT_SECRET": SECRETS["MLFLOW_CLIENT_SECRET"],
            "OIDC_SCOPES": SCOPES,
        }

    def settings_of_public_client(self) -> dict[str, str]:
        known = {**self.settings(), "OIDC_CLIENT_ID": "mlflow-public"}
        del known["OIDC_CLIENT_SECRET"]
        return known

    def wait_for_form(self, page: Page) -> None:
        """The page on which people choose: Dex's own."""
        page.wait_for_url(f"{self.issuer}/auth?**")
        expect(page.get_by_role("button", name="Log in with Example company")).to_be_visible()

    def sign_in(self, page: Page, person: Person) -> None:
        page.get_by_role("button", name="Log in with Example company").click()
        page.wait_for_url(f"{self.company.issuer}/interaction/**")
        page.get_by_label("Login").fill(person.name)
        page.get_by_label("Password").fill(person.password)
        page.get_by_role("button", name="Continue").click()

    def set_groups(self, person: Person, groups: tuple[str, ...]) -> None:
        self.company.put_person(person.name, person.password, email=person.email, groups=list(groups))

    def user_token(self, person: Person) -> str:
        """A program of the person's has a token of the company's provider, and exchanges it."""
        return self._exchanged(self.company.tokens_of(person.name, person.password)["id_token"])

    def exchanged_service_token(self) -> str:
        """Dex has no client credentials: the company's provider has, and what it gives is exchanged."""
        return self._exchanged(self.company.service_token(*self.program))

    def _exchanged(self, token: str) -> str:
        answer = self.process.exchange(token, scope=f"{SCOPES} audience:server:client_id:mlflow")
        return str(token_answer(answer)["access_token"])

    @property
    def service_username(self) -> str:
        return "nightly@example.org"

    def rotate_keys(self) -> None:
        self.process.rotate()

    def remove_old_keys(self) -> None:
        self.process.remove_old_keys()
