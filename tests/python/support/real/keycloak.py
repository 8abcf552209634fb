"""Keycloak as a process: `kc.sh`, all of its data in memory, the realm of examples/keycloak/realm.json."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Page, expect

from support import ports, processes, venvs
from support.real import PEOPLE, Homes, Person, RealProvider, absent, java
from support.real.keycloak_admin import Admin, Realm

EXAMPLE = venvs.REPOSITORY / "examples" / "keycloak" / "realm.json"
# Where the example's MLflow is.
EXAMPLE_HOME = "https://mlflow.example.com"
# The versions of Java that each can run on: the oldest and the newest.
JAVAS = {"20.0.5": (11, 19), "26.7.5": (17, 25)}
# Done once into the folder, since it takes 5 s (20.0.5) or 20 s (26.7.5): without it every start would do it.
BUILD = ["build", "--db=dev-mem", "--cache=local"]
ADMIN_NAME = "admin"


class KeycloakServer:
    """The process alone, with nothing in it but the master realm."""

    def __init__(self, version: str, brought: Path, folder: Path) -> None:
        self.version, self.brought, self.folder = version, brought, folder
        self.port = ports.free()
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = folder / "keycloak.log"
        self.admin_password = uuid.uuid4().hex
        self.admin = Admin(self.base, ADMIN_NAME, self.admin_password)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        home = java.home(*JAVAS[self.version])
        if home is None:
            absent(f"no Java {' to '.join(map(str, JAVAS[self.version]))} for Keycloak {self.version}")
        environment = self._environment(home)
        self._build(environment)
        command = [str(self.brought / "bin" / "kc.sh"), "start", "--optimized", "--http-enabled=true"]
        command += ["--http-host=127.0.0.1", f"--http-port={self.port}", "--hostname-strict=false"]
        if self.version.startswith("20."):
            command.append("--hostname-strict-https=false")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        if self._process is not None:
            processes.end_group(self._process)
            self._process = None

    def environment_of_tools(self) -> dict[str, str]:
        """For its own command-line tools, which are Java too."""
        home = java.home(*JAVAS[self.version])
        assert home is not None
        return self._environment(home)

    def _environment(self, home: Path | None) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "JAVA_HOME": str(home),
            # Nothing here lives long enough for the second compiler to pay: a start takes 10 s instead of 15.
            "JAVA_OPTS_APPEND": "-Xmx512m -XX:TieredStopAtLevel=1",
            # The names of 20 and those of 26.
            "KEYCLOAK_ADMIN": ADMIN_NAME,
            "KEYCLOAK_ADMIN_PASSWORD": self.admin_password,
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN_NAME,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.admin_password,
        }

    def _build(self, environment: dict[str, str]) -> None:
        stamp = self.brought / "built-with"
        with (self.brought / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if stamp.exists() and stamp.read_text() == " ".join(BUILD):
                return
            done = subprocess.run(
                [str(self.brought / "bin" / "kc.sh"), *BUILD],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=170,
                check=False,
            )
            assert done.returncode == 0, f"kc.sh build: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            stamp.write_text(" ".join(BUILD))

    def _wait_until_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                # Keycloak 20 answers a moment before it has made its administrator.
                if self.admin.may_enter():
                    return
            except requests.RequestException:
                pass
            time.sleep(0.2)
        raise AssertionError(f"Keycloak {self.version} did not start:\n{self.log.read_text()[-6000:]}")


class Keycloak(RealProvider):
    """The example's realm, its three clients told where the tests' MLflows are, and the people."""

    def __init__(self, version: str, homes: Homes, folder: Path) -> None:
        self.name, self.version, self.homes = f"keycloak-{version}", version, homes
        self.server = KeycloakServer(version, self.brought, folder)
        self.log = self.server.log
        self.realm = Realm(self.server.admin, "mlflow")
        self.issuer = self.realm.issuer
        # Version 26 leaves the claim out for somebody who is in no group.
        self.refusals_of_strangers = ("group_required" if version.startswith("20.") else "groups_missing",)

    def start(self) -> None:
        self.server.start()
        self.server.admin.call("POST", "/realms", json=example(self.homes.confidential))
        public = {"redirectUris": [f"{self.homes.public}/oidc/callback"], "enabled": True}
        self.realm.change_client("mlflow-public", **public)
        for person in PEOPLE:
            self.realm.make_person(person)

    def stop(self) -> None:
        self.server.stop()

    def other_realm(self) -> Realm:
        """A new realm of the same Keycloak, with nothing in it."""
        name = f"realm-{uuid.uuid4().hex[:8]}"
        self.server.admin.call("POST", "/realms", json={"realm": name, "enabled": True})
        return Realm(self.server.admin, name)

    def settings(self) -> dict[str, str]:
        return {
            "OIDC_ISSUER_URL": self.issuer,
            "OIDC_CLIENT_ID": "mlflow",
            "OIDC_CLIENT_SECRET": self.realm.secret("mlflow"),
        }

    def settings_of_public_client(self) -> dict[str, str]:
        return {"OIDC_ISSUER_URL": self.issuer, "OIDC_CLIENT_ID": "mlflow-public"}

    def wait_for_form(self, page: Page) -> None:
        page.wait_for_url(f"{self.issuer}/**", wait_until="commit")
        expect(page.locator("#kc-login")).to_be_visible()

    def sign_in(self, page: Page, person: Person) -> None:
        page.fill("#username", person.name)
        page.fill("#password", person.password)
        page.click("#kc-login")

    def sign_out(self, page: Page) -> None:
        """Keycloak asks whether it is meant, since nobody names a client."""
        page.goto(f"{self.issuer}/protocol/openid-connect/logout")
        page.click("#kc-logout")
        expect(page.locator("body")).to_contain_text("You are logged out")

    def set_groups(self, person: Person, groups: tuple[str, ...]) -> None:
        self.realm.set_groups(person.name, {f"/{group}" for group in groups})

    def user_token(self, person: Person) -> str:
        given = self.realm.tokens("mlflow", person, f"{self.homes.confidential}/oidc/callback")
        return str(given["access_token"])

    def service_token(self) -> str:
        given = self.realm.ask_for_tokens("mlflow-jobs", grant_type="client_credentials")
        return str(given["access_token"])

    @property
    def service_username(self) -> str:
        return "mlflow-jobs@service.invalid"

    def rotate_keys(self) -> None:
        self.realm.rotate_keys()

    def remove_old_keys(self) -> None:
        self.realm.remove_old_keys()


def example(home: str) -> dict[str, Any]:
    """The documented example with the address of an MLflow put in."""
    realm: dict[str, Any] = json.loads(EXAMPLE.read_text().replace(EXAMPLE_HOME, home))
    return realm
