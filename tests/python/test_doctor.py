"""`mlflow-oidc doctor`, as an operator runs it: every fault once, and nothing secret is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from mlflow_oidc import doctor, doctor_checks
from support import certificates, databases, ports, tokens, venvs, wire
from support.forward_proxy import Proxy
from support.misbehaving import MisbehavingProvider
from support.provider import CLIENT_SECRET, Provider
from support.server import ADMIN, FUNCTION, SESSION_SECRET, MakeServer, settings_for

Person = Callable[..., str]

VERSION = "3.17.2"
PUBLIC = "https://mlflow.example.com"
INI = f"""[mlflow]
default_permission = READ
database_uri = sqlite:///basic_auth.db
admin_username = {ADMIN[0]}
admin_password = {ADMIN[1]}
authorization_function = {FUNCTION}
"""


class Seen(NamedTuple):
    status: int
    said: dict[str, list[tuple[str, str]]]
    text: str

    def level(self, check: str) -> set[str]:
        return {level for level, _ in self.said.get(check, [])}

    @property
    def faults(self) -> list[str]:
        return [f"{c}: {said}" for c, all_ in self.said.items() for level, said in all_ if level == "FAULT"]


class Ward:
    """A configuration that is well, and what the doctor sees when something in it is changed."""

    def __init__(self, folder: Path, issuer: str) -> None:
        venvs.require(VERSION)
        self.folder, self.ini = folder, INI
        self.settings = settings_for(issuer, OIDC_PUBLIC_URL=PUBLIC)
        self.settings["MLFLOW_FLASK_SERVER_SECRET_KEY"] = SESSION_SECRET
        self.settings["MLFLOW_AUTH_CONFIG_PATH"] = str(folder / "basic_auth.ini")
        self.secrets = {CLIENT_SECRET, SESSION_SECRET, ADMIN[1]}

    def run(
        self, *arguments: str, stdin: str = "", program: Path | None = None, **changes: str | None
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "basic_auth.ini").write_text(self.ini)
        settings = {**venvs.environment(VERSION, self.folder), **self.settings, **changes}
        done = subprocess.run(
            [str(program or venvs.program(VERSION, "mlflow-oidc")), "doctor", *arguments],
            cwd=self.folder,
            env={name: value for name, value in settings.items() if value is not None},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert not [secret for secret in self.secrets if secret in printed], printed
        assert not tokens.JWT.search(printed), printed
        assert not [token for token in tokens.MINTED if token in printed], printed
        assert "Traceback" not in printed, printed
        return done

    def look(self, *arguments: str, stdin: str = "", **more: Any) -> Seen:
        done = self.run("--json", *arguments, stdin=stdin, **more)
        told = json.loads(done.stdout)
        said: dict[str, list[tuple[str, str]]] = {}
        for each in told["checks"]:
            said.setdefault(each["check"], []).append((each["level"], each["said"]))
        seen = Seen(done.returncode, said, done.stdout)
        assert told["ok"] is (done.returncode == 0)
        assert bool(seen.faults) is (done.returncode == 1)
        return seen


@pytest.fixture
def ward(tmp_path: Path, provider: Provider) -> Ward:
    return Ward(tmp_path, provider.issuer)


@pytest.fixture
def scripted() -> Iterator[MisbehavingProvider]:
    made = MisbehavingProvider()
    yield made
    made.close()


def test_a_configuration_that_is_well(ward: Ward, provider: Provider) -> None:
    seen = ward.look()
    assert (seen.status, seen.faults) == (0, [])
    checks = [name for name, _ in doctor_checks.CHECKS]
    assert [name for name in checks if name not in seen.said] == ["roles", "claims", "token"], seen.text
    assert seen.said["MLflow"] == [("ok", VERSION)]
    assert f"{PUBLIC}/oidc/callback" in seen.said["address"][0][1]
    assert f"{provider.issuer}/.well-known/openid-configuration" in seen.said["provider"][0][1]
    assert seen.said["keys"] == [("ok", "1 usable")]
    assert seen.level("clock") == {"ok"}
    # uvloop is not in this environment, and the database not made yet.
    assert {name for name in seen.said if seen.level(name) == {"warning"}} <= {
        "event loop",
        "database",
    }


def test_one_line_a_check_and_no_colour_in_a_pipe(ward: Ward) -> None:
    done = ward.run(MLFLOW_FLASK_SERVER_SECRET_KEY=None)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "FAULT   secret key: MLFLOW_FLASK_SERVER_SECRET_KEY is not set" in done.stdout
    assert all(line.startswith(("ok      ", "warning ", "FAULT   ")) for line in lines), done.stdout
    assert "\x1b" not in done.stdout


def test_a_terminal_that_knows_ascii_alone(ward: Ward) -> None:
    """A group, a user and an address may have letters beyond it, and so the report ended in a traceback."""
    done = ward.run(OIDC_USER_GROUP="Prüfer", PYTHONIOENCODING="ascii")
    assert r"for Pr\xfcfer" in done.stdout, done.stdout
    assert done.returncode == 0


def test_it_leaves_nothing_behind(ward: Ward, provider: Provider, person: Person) -> None:
    alice = person("alice")
    assert ward.look("--token", "-", stdin=provider.bearer(alice)).status == 0
    assert [entry.name for entry in ward.folder.iterdir()] == ["basic_auth.ini"]


ENVIRONMENT: list[tuple[str, dict[str, str | None], str, str]] = [
    (
        "secret key",
        {"MLFLOW_FLASK_SERVER_SECRET_KEY": None},
        "secret key",
        "is not set; MLflow does not start",
    ),
    ("no issuer", {"OIDC_ISSUER_URL": None}, "settings", "OIDC_ISSUER_URL: expected a value, found none"),
    ("a flag", {"OIDC_BASIC_AUTH": "perhaps"}, "settings", "OIDC_BASIC_AUTH: expected true or false"),
    ("plain http", {"OIDC_PUBLIC_URL": "http://mlflow.example.com"}, "settings", "OIDC_PUBLIC_URL: expected"),
    ("a bundle", {"OIDC_CA_BUNDLE": "/no/such/file"}, "settings", "OIDC_CA_BUNDLE: expected a PEM file"),
    ("a prefix", {"MLFLOW_STATIC_PREFIX": "/static-ui"}, "settings", "--static-prefix: expected one that"),
    ("a short secret", {"OIDC_SESSION_SECRET": "too-short-one"}, "settings", "OIDC_SESSION_SECRET: expected"),
    ("no file", {"MLFLOW_AUTH_CONFIG_PATH": "/no/such/file"}, "basic_auth.ini", "cannot be opened"),
    (
        "the provider is away",
        {"OIDC_ISSUER_URL": f"http://127.0.0.1:{ports.free()}"},
        "provider",
        "provider_unreachable: The OpenID provider cannot be reached now.",
    ),
]


@pytest.mark.parametrize(
    ("changes", "check", "words"), [row[1:] for row in ENVIRONMENT], ids=[r[0] for r in ENVIRONMENT]
)
def test_a_fault_of_the_environment(
    ward: Ward, changes: dict[str, str | None], check: str, words: str
) -> None:
    ward.secrets.add("too-short-one")
    seen = ward.look(**changes)
    assert any(fault.startswith(f"{check}: ") and words in fault for fault in seen.faults), seen.text


FILES: list[tuple[str, Callable[[str], str], str, str]] = [
    ("no section", lambda ini: ini.replace("[mlflow]", "[mlfow]"), "basic_auth.ini", "no section [mlflow]"),
    (
        "a line that is none",
        lambda ini: f"{ADMIN[1]}\n{ini}",
        "basic_auth.ini",
        "line 1 cannot be read (MissingSectionHeaderError)",
    ),
    (
        "a percent sign",
        lambda ini: ini.replace(ADMIN[1], f"%{ADMIN[1]}"),
        "basic_auth.ini",
        "MLflow cannot read admin_password in [mlflow]; a '%' in a value is written '%%'",
    ),
    (
        "MLflow's own function",
        lambda ini: ini.replace(FUNCTION, "mlflow.server.auth:authenticate_request_basic_auth"),
        "authorization_function",
        f"expected {FUNCTION}, found",
    ),
    (
        "no function",
        lambda ini: ini.replace("authorization_function", "authorisation_function"),
        "authorization_function",
        "not set in [mlflow]",
    ),
    (
        "a database in memory",
        lambda ini: ini.replace("sqlite:///basic_auth.db", "sqlite://"),
        "settings",
        "[mlflow] database_uri: expected an SQLite file (sqlite:///basic_auth.db), PostgreSQL, or another",
    ),
    (
        "a database that does not answer",
        lambda ini: ini.replace(
            "sqlite:///basic_auth.db", f"postgresql+psycopg2://mlflow:{ADMIN[1]}@127.0.0.1:1/mlflow"
        ),
        "database",
        "it cannot be asked (OperationalError): is it there",
    ),
    (
        "a driver that is not there",
        lambda ini: ini.replace("sqlite:///basic_auth.db", f"mysql+mysqldb://mlflow:{ADMIN[1]}@db/mlflow"),
        "database",
        "the driver MySQLdb is not installed here: pip install mysqlclient",
    ),
    (
        "a dialect that nobody knows",
        lambda ini: ini.replace("sqlite:///basic_auth.db", f"ingres://mlflow:{ADMIN[1]}@db/mlflow"),
        "database",
        "SQLAlchemy knows no driver",
    ),
    (
        "no address of a database",
        lambda ini: ini.replace("sqlite:///basic_auth.db", f"{ADMIN[1]}"),
        "settings",
        "found 'an address that cannot be read'",
    ),
    (
        "a folder that is not there",
        lambda ini: ini.replace("sqlite:///basic_auth.db", "sqlite:////no/such/folder/basic_auth.db"),
        "database",
        "there is no folder /no/such/folder",
    ),
    (
        "a name twice",
        lambda ini: f"{ini}\n[oidc]\nclient_secret = a\nclient_secret = b\n",
        "basic_auth.ini",
        "(DuplicateOptionError)",
    ),
]


@pytest.mark.parametrize("words", ["line 1 cannot be read", "(DuplicateOptionError)"])
def test_of_a_file_that_cannot_be_read_nothing_is_missed(ward: Ward, words: str) -> None:
    """What it says would be reported as missing, and whoever adds it once more looks in the wrong place."""
    ward.ini = next(change(INI) for _, change, _, said in FILES if words in said)
    (told,) = ward.look().faults
    assert words in told


@pytest.mark.parametrize(("change", "check", "words"), [row[1:] for row in FILES], ids=[r[0] for r in FILES])
def test_a_fault_of_the_file(ward: Ward, change: Callable[[str], str], check: str, words: str) -> None:
    ward.ini = change(ward.ini)
    seen = ward.look()
    assert any(fault.startswith(f"{check}: ") and words in fault for fault in seen.faults), seen.text


def test_the_other_name_of_the_function(ward: Ward) -> None:
    """`basic_auth.ini` gives it to those who have another package `auth`."""
    ward.ini = INI.replace(FUNCTION, "mlflow_oidc:authenticate_request")
    (ward.folder / "auth.py").write_text("")
    seen = ward.look()
    assert seen.said["authorization_function"] == [("ok", "mlflow_oidc:authenticate_request")]
    assert not seen.faults


def test_the_password_that_mlflow_ships(ward: Ward) -> None:
    """Whoever takes MLflow's own file for a start has it, and everybody knows it."""
    for shipped in ("password", "password1234"):
        ward.ini = INI.replace(ADMIN[1], shipped)
        seen = ward.look()
        assert seen.level("administrator") == {"warning"}
        assert "set another" in seen.text
    # The environment goes first, since MLflow 3.16.1.
    assert ward.look(MLFLOW_AUTH_ADMIN_PASSWORD="another-one-0").level("administrator") == {"ok"}


def test_a_password_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample leaves it out; before 3.16.1 MLflow ends in a KeyError then, later at its first start."""
    (tmp_path / "basic_auth.ini").write_text(INI.replace("admin_password", "# admin_password"))
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(tmp_path / "basic_auth.ini"))
    monkeypatch.chdir(tmp_path)

    def levels(version: str) -> list[str]:
        patient = doctor.Patient()
        patient.mlflow_version = version
        return [finding.level for finding in doctor_checks.administrator(patient)]

    assert levels("3.15.2") == ["FAULT"]
    assert levels("3.16.1") == ["warning"]
    (tmp_path / "basic_auth.db").touch()
    assert levels("3.15.2") == ["FAULT"]
    assert levels("3.16.1") == [], "it has started before"


def test_a_package_that_hides_ours(ward: Ward) -> None:
    """MLflow's servers look into the folder that they are started in first."""
    (ward.folder / "auth").mkdir()
    (ward.folder / "auth" / "__init__.py").touch()
    seen = ward.look()
    assert [f for f in seen.faults if f.startswith("authorization_function: the server would import another")]


def test_a_flask_that_cannot_be_imported(ward: Ward) -> None:
    (ward.folder / "flask.py").write_text("raise ImportError('a broken flask')\n")
    seen = ward.look(PYTHONPATH=str(ward.folder))
    assert [f for f in seen.faults if "cannot be imported here: ImportError: a broken flask" in f], seen.text


def pretended(ward: Ward, version: str) -> dict[str, str]:
    """The metadata of another MLflow, found before that of the one that is there."""
    folder = ward.folder / f"mlflow-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mlflow\nVersion: {version}\n")
    return {"PYTHONPATH": str(ward.folder)}


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ("2.8.1", "FAULT", "2.8.1 is not supported"),
        ("3.16.0", "warning", "way out: MLflow 3.16.1"),
        ("3.3.1", "warning", "3.3.1 under uvicorn answers 500 on every page"),
        ("3.99.0", "warning", "newer than 3.17"),
    ],
)
def test_releases_of_mlflow(ward: Ward, version: str, level: str, words: str) -> None:
    seen = ward.look(**pretended(ward, version))
    assert [said for found, said in seen.said["MLflow"] if found == level and words in said], seen.text


def test_without_mlflow_and_without_what_it_needs(ward: Ward) -> None:
    """The environment of these tests has neither."""
    program = Path(sys.executable).parent / "mlflow-oidc"
    assert [f for f in ward.look(program=program).faults if f.startswith("MLflow: it is not installed here")]
    seen = ward.look(program=program, **pretended(ward, VERSION))
    assert [f for f in seen.faults if "without Flask-WTF: pip install 'mlflow[auth]'" in f], seen.text


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To root every folder is writable, and the tests may run as root."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    patient = SimpleNamespace(database=(str(tmp_path / "basic_auth.db"), "sqlite"))
    (finding,) = doctor_checks.database(cast(doctor.Patient, patient))
    assert finding.level == "FAULT"
    assert "basic_auth.db-oidc has to be made there" in finding.said


def test_a_check_that_fails_itself_tells_nothing_but_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: doctor.Patient) -> list[doctor.Finding]:
        raise ValueError(CLIENT_SECRET)

    monkeypatch.setattr(doctor_checks, "CHECKS", (("broken", broken),))
    assert doctor.examine(doctor.Patient()) == [
        ("broken", doctor.Finding("FAULT", "the check itself failed (ValueError)"))
    ]


def test_an_issuer_that_calls_itself_something_else(ward: Ward, scripted: MisbehavingProvider) -> None:
    scripted.metadata["issuer"] = f"{scripted.issuer}/"
    (fault,) = ward.look(OIDC_ISSUER_URL=scripted.issuer).faults
    assert fault.startswith("provider: provider_answer: ")
    assert f"expected metadata of issuer '{scripted.issuer}'" in fault.lower()
    assert f"issuer '{scripted.issuer}/' (OIDC_ISSUER_URL must be exactly" in fault


def test_keys_that_nobody_can_use(ward: Ward, scripted: MisbehavingProvider) -> None:
    scripted.faults["keys"] = lambda exchange: exchange.answer({"keys": []})
    seen = ward.look(OIDC_ISSUER_URL=scripted.issuer)
    assert [f for f in seen.faults if f.startswith("keys: provider_answer: ")], seen.text
    scripted.faults["keys"] = lambda exchange: exchange.answer(
        {"keys": [scripted.key.public_jwk(), {"kty": "odd"}]}
    )
    seen = ward.look(OIDC_ISSUER_URL=scripted.issuer)
    assert (seen.status, seen.level("keys")) == (0, {"ok", "warning"})


@pytest.mark.parametrize(
    ("apart", "level", "words"),
    [
        (0, "ok", ""),
        (40, "warning", "s behind the provider"),
        (120, "FAULT", "s behind the provider; OIDC_CLOCK_SKEW_SECONDS allows 60"),
        (-120, "FAULT", "s ahead of the provider"),
        (None, "warning", "the provider tells no time"),
    ],
)
def test_clocks(ward: Ward, scripted: MisbehavingProvider, apart: int | None, level: str, words: str) -> None:
    scripted.date = "now" if apart is None else formatdate(time.time() + apart, usegmt=True)
    ((found, said),) = ward.look(OIDC_ISSUER_URL=scripted.issuer).said["clock"]
    assert (found, words in said) == (level, True), said


def test_what_the_provider_does_not_offer(ward: Ward, scripted: MisbehavingProvider) -> None:
    scripted.metadata["scopes_supported"] = ["openid", "email", "\x1b[2J\nFAULT   forged: line"]
    scripted.metadata["claims_supported"] = ["sub", "email", "realm_access"]
    asked = {"OIDC_ISSUER_URL": scripted.issuer, "OIDC_SCOPES": "openid email groups"}
    done = ward.run(**asked, OIDC_GROUPS_CLAIM="realm_access.roles,groups")
    assert done.returncode == 0, done.stdout
    assert (
        "warning scopes: groups (of OIDC_SCOPES) not among the scopes that the provider lists" in done.stdout
    )
    assert "warning claims: groups (of OIDC_USERNAME_CLAIM and OIDC_GROUPS_CLAIM) not among" in done.stdout
    # What the provider writes is no second line, and moves no cursor.
    assert "\x1b" not in done.stdout
    assert "\nFAULT" not in done.stdout
    named = {"OIDC_USERNAME_CLAIM": "email,preferred_username"}
    fine = ward.look(**asked, **named, OIDC_GROUPS_CLAIM="realm_access.roles")
    assert fine.level("claims") == {"ok"}


def test_the_way_to_the_provider(ward: Ward, tmp_path: Path) -> None:
    """By the client that the server has: its authority, its proxy."""
    ours = certificates.authority("the company's authority")
    provider = MisbehavingProvider(ours.issue(names=certificates.ELSEWHERE).server_context())
    provider.issuer = f"https://{certificates.ELSEWHERE[0].value}"
    proxy = Proxy(provider, "somebody:word-of-the-proxy")
    ward.secrets.add("word-of-the-proxy")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(ours.pem())
    by = f"http://somebody:word-of-the-proxy@{proxy.url.removeprefix('http://')}"
    try:
        asked = {"OIDC_ISSUER_URL": provider.issuer, "HTTPS_PROXY": by}
        seen = ward.look(**asked)
        assert "invalid peer certificate: UnknownIssuer" in seen.faults[0]
        assert "these are set here: HTTPS_PROXY" in seen.text
        seen = ward.look(**asked, OIDC_CA_BUNDLE=str(bundle))
        assert (seen.status, seen.level("keys")) == (0, {"ok"})
    finally:
        proxy.close()
        provider.close()


def test_addresses(ward: Ward) -> None:
    prefixed = {"OIDC_PUBLIC_URL": f"{PUBLIC}/mlflow"}
    assert ward.look("--static-prefix", "/mlflow", **prefixed).level("address") == {"ok"}
    assert ward.look(**prefixed, MLFLOW_STATIC_PREFIX="/mlflow").level("address") == {"ok"}
    assert ward.look(**prefixed).level("address") == {"ok", "warning"}
    ((level, said),) = ward.look(OIDC_PUBLIC_URL=None).said["address"]
    assert level == "warning"
    assert "http://localhost:5000/oidc/callback" in said


def test_a_name_that_nobody_knows(ward: Ward) -> None:
    seen = ward.look(OIDC_CLIENT_SECRETT="a-value-that-may-be-a-secret")
    assert seen.level("settings") == {"ok", "warning"}
    assert "did you mean OIDC_CLIENT_SECRET?" in seen.text
    assert "a-value-that-may-be-a-secret" not in seen.text


def test_the_doctor_says_of_a_token_what_the_server_says(
    ward: Ward, make_server: MakeServer, provider: Provider, person: Person
) -> None:
    server = make_server(VERSION, provider.issuer)
    alice, admin = person("alice"), person("admin", groups=["MLFLOW_admin"])
    now = int(time.time())
    other = tokens.Key.rsa()
    for token, code in (
        (provider.bearer(alice), None),
        (provider.bearer(admin, groups=["MLFLOW_admin", *(f"g{n}" for n in range(30))]), None),
        (f"Bearer {provider.bearer(alice)}\n", None),
        (provider.bearer(alice, exp=now - 3600, iat=now - 7200), "token_expired"),
        (provider.bearer(alice, "another-application"), "token_audience"),
        (provider.bearer(alice, iss="https://other.example"), "token_issuer"),
        (provider.bearer(alice, groups=["others"]), "group_required"),
        (provider.bearer(alice, groups=None), "groups_missing"),
        (provider.bearer(alice, email_verified=False), "email_unverified"),
        (provider.bearer(alice, email=None), "username_missing"),
        (other.token(tokens.bearer_claims(provider.issuer, alice, "mlflow")), "token_key_unknown"),
        (provider.bearer(alice)[:-20] + "A" * 20, "token_signature"),
        (CLIENT_SECRET, "token_malformed"),
    ):
        bare = token.removeprefix("Bearer ").strip()
        answer = server.call("GET", "/api/2.0/mlflow/experiments/search?max_results=1", token=bare)
        seen = ward.look("--token", "-", stdin=token)
        ((level, said),) = seen.said["token"]
        if code is None:
            assert (answer.status_code, level, seen.status) == (200, "ok", 0), said
        else:
            message = wire.refusal(answer, answer.status_code, code)["message"]
            assert (level, seen.status) == ("FAULT", 1)
            assert said.startswith(f"{code}: ")
            # The same words on both sides, but for the seconds that have gone by.
            told, answered = (re.sub(r"\d+", "N", text) for text in (said, message))
            assert told.partition("found ")[2] in answered, f"{said} / {message}"
    seen = ward.look("--token", "-", stdin=provider.bearer(admin, groups=["MLFLOW_admin"]))
    ((_, said),) = seen.said["token"]
    assert f"'{admin}@example.org' (groups MLFLOW_admin; an administrator), subject '{admin}'" in said


def test_a_token_while_the_settings_are_wrong_or_the_provider_is_away(
    ward: Ward, provider: Provider, person: Person
) -> None:
    token = provider.bearer(person("alice"))
    seen = ward.look("--token", "-", stdin=token, OIDC_CLIENT_ID=None)
    assert "token: it cannot be judged while there are faults in the settings" in seen.faults
    away = f"http://127.0.0.1:{ports.free()}"
    claims = {**tokens.claims_of(token), "iss": away}
    seen = ward.look("--token", "-", stdin=provider.key.token(claims), OIDC_ISSUER_URL=away)
    assert [fault for fault in seen.faults if fault.startswith("token: provider_unreachable")], seen.text


def test_a_token_on_the_command_line_is_refused_and_not_repeated(ward: Ward, provider: Provider) -> None:
    token = provider.bearer("alice")
    for arguments in (("--token", token), (f"--token={token}",), (token,), ("--token", "-", token)):
        done = ward.run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
    done = ward.run("--token", "-", stdin=" \n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no token on standard input" in done.stderr


def test_a_database_of_a_server_is_asked_what_is_there(ward: Ward, tmp_path: Path) -> None:
    ward.secrets.add(databases.PASSWORD)

    def told(url: str) -> tuple[str, str]:
        ward.ini = INI.replace("sqlite:///basic_auth.db", url.replace("%", "%%"))
        (finding,) = ward.look().said["database"]
        return finding

    assert told(databases.running("postgresql").fresh()) == (
        "warning",
        "postgresql answers; MLflow makes its tables there at its first start",
    )
    for kind in ("postgresql", "mariadb"):
        level, said = told(databases.prepared(kind, VERSION, tmp_path))
        assert level == "ok"
        assert said.endswith("MLflow's tables are there, ours are made at the first request")


def test_the_fault_of_mlflows_migration_on_mysql_is_told_with_its_way_out(ward: Ward, tmp_path: Path) -> None:
    """Before the first start and after it has failed; what MLflow itself does is what the document says."""
    url = databases.running("mariadb").fresh()
    ward.secrets.add(databases.PASSWORD)
    ward.ini = INI.replace("sqlite:///basic_auth.db", url.replace("%", "%%"))
    said = []
    for words in ("Duplicate key on write or update", "Table 'users' already exists"):
        said += ward.look().faults
        failed = databases.upgrade(url, VERSION, tmp_path)
        assert failed.returncode != 0
        assert words in failed.stderr
    assert len(said) == 2, said
    for each in said:
        assert "mlflow/mlflow#10964" in each
        assert "a fault of MLflow's" in each
        assert "docs/databases.md" in each
    # What a failed start has left goes, as the document says, and then its way out is open.
    databases.execute(url, "DROP TABLE experiment_permissions, users; DROP TABLE alembic_version_auth")
    databases.make_ready(url, VERSION)
    assert databases.upgrade(url, VERSION, tmp_path).returncode == 0
    assert ward.look().level("database") == {"ok"}
