"""README.md, 'Set it up with Keycloak': its lines are run as they stand, on a Keycloak with nothing in it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
from conftest import VERSION
from playwright.sync_api import Page, expect

from cases import admin_only_call, current_user, session_of
from support import ports, tokens, venvs
from support.real import ALICE, PROVIDERS, absent
from support.real.keycloak import EXAMPLE, EXAMPLE_HOME, KeycloakServer
from support.real.keycloak_admin import Realm
from support.server import MakeServer, MlflowServer

NEWEST = "26.7.5"
EXAMPLE_KEYCLOAK = "https://keycloak.example.com"

# The first of all waits for `kc.sh build` and a start, which take a minute and more on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeycloakServer]:
    brought = PROVIDERS / f"keycloak-{NEWEST}"
    if not (brought / "made-from").exists():
        absent(f"no Keycloak {NEWEST} in {PROVIDERS}: `make test-providers` puts it there")
    venvs.require(VERSION)
    server = KeycloakServer(NEWEST, brought, tmp_path_factory.mktemp("keycloak-readme-"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def blocks_of_readme() -> list[str]:
    """The two shell blocks of the section: Keycloak's five lines, and MLflow's environment and command."""
    text = (venvs.REPOSITORY / "README.md").read_text()
    section = text.split("## Set it up with Keycloak\n")[1].split("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def run(server: KeycloakServer, script: str) -> str:
    """What a person at a shell does; the only thing they are asked for is the administrator's password."""
    environment = server.environment_of_tools()
    # Instead of typing it: kcadm asks for it at a terminal alone.
    environment["KC_CLI_PASSWORD"] = server.admin_password
    environment["PATH"] = f"{server.brought / 'bin'}:{environment['PATH']}"
    (server.folder / "examples").mkdir(exist_ok=True)
    if not (server.folder / "examples" / "keycloak").exists():
        (server.folder / "examples" / "keycloak").symlink_to(EXAMPLE.parent)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=server.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_its_lines_are_enough_to_log_in(
    fresh: KeycloakServer, make_server: MakeServer, page: Page, new_page: Callable[[], Page]
) -> None:
    home = f"http://127.0.0.1:{ports.free()}"
    keycloak, mlflow = blocks_of_readme()
    assert len(keycloak.splitlines()) == 5, keycloak
    assert EXAMPLE_HOME in keycloak.splitlines()[0]
    assert EXAMPLE_KEYCLOAK in keycloak.splitlines()[0]
    first, *others = keycloak.splitlines()
    first = first.replace(EXAMPLE_HOME, home).replace(EXAMPLE_KEYCLOAK, fresh.base)
    secret = run(fresh, "\n".join([first, *others])).split()[-1]

    named = dict(re.findall(r"^export (OIDC_\w+)=(\S+)", mlflow, re.MULTILINE))
    assert set(named) >= {"OIDC_ISSUER_URL", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_PUBLIC_URL"}
    settings = {
        name: value.replace(EXAMPLE_KEYCLOAK, fresh.base).replace(EXAMPLE_HOME, home)
        for name, value in named.items()
    }
    settings["OIDC_CLIENT_SECRET"] = secret
    # Step 2, by the means of Keycloak's console.
    Realm(fresh.admin, "mlflow").make_person(ALICE, groups=["/MLFLOW_admin"])

    server: MlflowServer = make_server(
        VERSION,
        settings["OIDC_ISSUER_URL"],
        settings=settings,
        port=int(home.rpartition(":")[2]),
        secrets=(secret,),
    )
    page.goto(server.url, wait_until="commit")
    page.fill("#username", ALICE.name)
    page.fill("#password", ALICE.password)
    page.click("#kc-login")
    expect(page.get_by_text("Default").first).to_be_visible()
    assert current_user(page, server)["is_admin"] is True
    assert admin_only_call(page, server) == 200
    assert session_of(new_page(), server) is None


def test_the_example_opens_nothing_by_itself(fresh: KeycloakServer) -> None:
    """Whoever imports it as it is has no account, no known secret, no wide redirect and no password grant."""
    text = EXAMPLE.read_text()
    realm = json.loads(text)
    assert not re.search(r'"(secret|credentials|value|privateKey|hashedSaltedValue)"', text)
    assert [user["username"] for user in realm["users"]] == ["service-account-mlflow-jobs"]
    assert realm["registrationAllowed"] is False
    for client in realm["clients"]:
        assert client["directAccessGrantsEnabled"] is False, client["clientId"]
        assert client["implicitFlowEnabled"] is False
        assert client["fullScopeAllowed"] is False
        assert client["webOrigins"] == []
        assert set(client["redirectUris"]) <= {f"{EXAMPLE_HOME}/oidc/callback"}
        if client["standardFlowEnabled"]:
            assert client["attributes"]["pkce.code.challenge.method"] == "S256"
        if client["publicClient"]:
            assert client["enabled"] is False
    # What Keycloak makes of it: two imports, two secrets, and nobody to log in as.
    secrets = set()
    for name in ("first", "second"):
        fresh.admin.call("POST", "/realms", json={**realm, "realm": name})
        imported = Realm(fresh.admin, name)
        secrets |= {imported.secret(client) for client in ("mlflow", "mlflow-jobs")}
        assert imported.call("GET", "/users") == []
    assert len(secrets) == 4
    assert min(map(len, secrets)) >= 32


def test_it_can_be_put_into_a_realm_that_is_there(fresh: KeycloakServer) -> None:
    """The line of docs/providers/keycloak.md, which leaves alone what the realm has."""
    document = (venvs.REPOSITORY / "docs" / "providers" / "keycloak.md").read_text()
    (line,) = re.findall(r"^kcadm\.sh create partialImport .*$", document, re.MULTILINE)
    fresh.admin.call(
        "POST", "/realms", json={"realm": "company", "enabled": True, "groups": [{"name": "MLFLOW"}]}
    )
    company = Realm(fresh.admin, "company")
    before = company.group_id("MLFLOW")
    login, script = blocks_of_readme()[0].splitlines()[2], line.replace("-r REALM", "-r company")
    run(fresh, f"KEYCLOAK={fresh.base}\n{login}\ncp {EXAMPLE} realm.json\n{script}")
    assert company.group_id("MLFLOW") == before
    assert company.group_id("MLFLOW_admin")
    assert {mapper["name"] for mapper in company.client("mlflow")["protocolMappers"]} == {
        "groups",
        "audience mlflow",
    }
    given = company.ask_for_tokens("mlflow-jobs", grant_type="client_credentials")
    claims = tokens.claims_of(given["access_token"])
    assert (claims["aud"], claims["groups"]) == ("mlflow", ["/MLFLOW"])
