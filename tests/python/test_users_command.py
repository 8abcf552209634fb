"""`mlflow-oidc users` beside a running server: who is who, and what an administrator changes by hand."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support import wire
from support.browser import Browser
from support.people import Command
from support.provider import Provider
from support.server import ADMIN, MakeServer, MlflowServer, settings_for

Person = Callable[..., str]

EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"
PASSWORD = "a-password-of-its-own-123"
CACHE = 1


@pytest.fixture(scope="module")
def server(make_module_server: MakeServer, provider: Provider) -> MlflowServer:
    """Two workers, so that what one has ended the other one has to hear of."""
    settings = settings_for(provider.issuer, OIDC_SESSION_CACHE_SECONDS=str(CACHE))
    return make_module_server("3.17.2", provider.issuer, settings=settings, workers=2)


@pytest.fixture(scope="module")
def users(server: MlflowServer) -> Command:
    return Command(server)


@pytest.fixture
def person(provider: Provider) -> Person:
    """Makes somebody whom no other test knows."""

    def make(name: str, **claims: Any) -> str:
        subject = f"{name}-{uuid.uuid4().hex[:12]}"
        provider.put_user(subject, **claims)
        return subject

    return make


def signed_in(server: MlflowServer, provider: Provider, subject: str) -> Browser:
    browser = Browser(server)
    browser.login(provider, subject)
    assert browser.session() is not None
    return browser


def name_of(subject: str) -> str:
    return f"{subject}@example.org"


def local(server: MlflowServer, name: str, *, is_admin: bool = False) -> str:
    """An account with a password, as MLflow's administrator makes one."""
    user = {"username": name, "password": PASSWORD}
    server.admin("POST", "/api/2.0/mlflow/users/create", json=user)
    if is_admin:
        server.admin("PATCH", "/api/2.0/mlflow/users/update-admin", json={"username": name, "is_admin": True})
    return name


def grant(server: MlflowServer, name: str, permission: str) -> None:
    """A right on the experiment that every server has."""
    given = {"username": name, "resource_type": "experiment", "resource_id": "0", "permission": permission}
    server.admin("POST", "/api/3.0/mlflow/users/permissions/grant", json=given)


def works(server: MlflowServer, name: str, password: str = PASSWORD) -> bool:
    return server.call("GET", EXPERIMENTS, auth=(name, password)).status_code == 200


def is_out(browser: Browser, seconds: float = CACHE + 2) -> bool:
    """Whether the session has ended on every worker: asked often enough to meet both."""
    time.sleep(CACHE + 0.2)
    return all(browser.session() is None for _ in range(12))


def test_everybody_who_signed_in_is_listed(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    ada = person("ada", groups=["MLFLOW_admin", "lab"])
    bob = person("bob")
    carol = local(server, f"carol-{uuid.uuid4().hex}")
    signed_in(server, provider, ada)
    signed_in(server, provider, ada)
    token = provider.bearer(bob)
    assert server.call("GET", EXPERIMENTS, token=token).status_code == 200

    before = time.time()
    row = users.person(name_of(ada))
    assert before - 60 < row.pop("told_at") <= time.time() + 1
    assert row.pop("user_id") >= 1 << 30
    assert row == {
        "username": name_of(ada),
        "is_admin": True,
        "account": "made here",
        "password": False,
        "issuer": provider.issuer,
        "subject": ada,
        "groups": ["MLFLOW_admin", "lab"],
        "sessions": 2,
    }
    assert users.person(name_of(bob))["sessions"] == 0
    assert (users.person(carol)["account"], users.person(carol)["password"]) == ("local", True)
    assert carol not in users.said("list")

    today = time.strftime("%Y-%m-%d", time.gmtime())
    text = users.said("list")
    assert re.search(rf"^{name_of(ada)} +yes +made here +2 +{today} +2 +{ada}$", text, re.MULTILINE), text
    assert re.search(rf"^{name_of(bob)} +no +made here +1 +{today} +0 +{bob}$", text, re.MULTILINE), text
    assert text.count(provider.issuer) == 1, "one issuer is told once"
    head, *lines = text.splitlines()
    starts = {head.index("SUBJECT")} | {line.rindex(ada) for line in lines if line.endswith(f" {ada}")}
    assert len(starts) == 1, "the columns are aligned"


def test_a_group_is_listed_by_its_whole_name(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    group = f"team-{uuid.uuid4().hex}"
    one, other = person("one", groups=["MLFLOW", group]), person("other", groups=["MLFLOW", f"{group}-2"])
    for subject in (one, other):
        signed_in(server, provider, subject)
    assert [row["subject"] for row in users.json("list", "--group", group)] == [one]
    assert users.nothing("list", "--group", "MLFLO")
    assert "nobody is a member of 'MLFLO'" in users.said("list", "--group", "MLFLO", status=1)


def test_all_that_is_known_of_one(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    ada = person("ada", groups=["MLFLOW", "lab"])
    name = name_of(ada)
    signed_in(server, provider, ada)
    role = server.admin(
        "POST", "/api/3.0/mlflow/roles/create", json={"name": f"role-{ada}", "workspace": "default"}
    )["role"]
    given = {
        "role_id": role["id"],
        "resource_type": "experiment",
        "resource_pattern": "*",
        "permission": "EDIT",
    }
    server.admin("POST", "/api/3.0/mlflow/roles/permissions/add", json=given)
    server.admin("POST", "/api/3.0/mlflow/roles/assign", json={"username": name, "role_id": role["id"]})
    grant(server, name, "MANAGE")

    told = users.json("show", name)
    assert told["roles"] == [
        {
            "name": f"role-{ada}",
            "workspace": "default",
            "description": "",
            "grants": [{"kind": "experiment", "pattern": "*", "permission": "EDIT"}],
        }
    ]
    assert told["grants"] == [{"kind": "experiment", "pattern": "0", "permission": "MANAGE"}]
    assert (told["is_admin"], told["admin_because"]) == (False, "not in an admin group")
    assert (told["may_come_in"], told["password"]) == (True, False)
    assert [session["username"] for session in told["sessions"]] == [name]
    assert users.json("show", ada, "--subject") == told

    text = users.said("show", name)
    for line in (
        f"role role-{ada} in default: 1",
        "    experiment * EDIT",
        "groups:           2: MLFLOW, lab",
    ):
        assert line in text.splitlines(), text
    assert "no MLflow user 'nobody'" in users.said("show", "nobody", status=1)
    assert "no identity has the subject 'nobody'" in users.said("show", "nobody", "--subject", status=1)
    assert "the administrator whom MLflow makes" in users.said("show", ADMIN[0])


def test_signing_out_is_true_on_every_worker_and_leaves_the_others(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    ada, bob = person("ada"), person("bob")
    first, second = (signed_in(server, provider, ada) for _ in range(2))
    others = signed_in(server, provider, bob)
    token = provider.bearer(ada)

    said = users.said("sign-out", name_of(ada))
    assert "2 sessions have ended" in said
    assert f"within {CACHE} s" in said
    assert "Bearer tokens are the provider's" in said
    assert is_out(first)
    assert is_out(second)
    assert others.session() is not None
    assert server.call("GET", EXPERIMENTS, token=token).status_code == 200, "as it says"
    assert users.person(name_of(ada))["sessions"] == 0
    assert "no session to end" in users.said("sign-out", name_of(ada), status=1)
    # And in again, as the same account.
    signed_in(server, provider, ada)


def test_one_session_of_two(server: MlflowServer, users: Command, provider: Provider, person: Person) -> None:
    ada = person("ada")
    first = signed_in(server, provider, ada)
    (handle,) = [session["handle"] for session in users.json("sessions", name_of(ada))]
    second = signed_in(server, provider, ada)
    assert len(users.json("sessions", name_of(ada))) == 2
    assert re.search(rf"^{handle} +{name_of(ada)} +20\S+ \S+Z ", users.said("sessions"), re.MULTILINE)
    assert handle in users.said("sign-out", "--session", handle.upper())
    assert is_out(first)
    assert second.session() is not None
    assert "no session begins with" in users.said("sign-out", "--session", handle, status=1)


def test_a_beginning_that_two_sessions_share_names_neither(server: MlflowServer, users: Command) -> None:
    with closing(sqlite3.connect(server.folder / "basic_auth.db-oidc", timeout=15)) as ours, ours:
        for last in (1, 2):
            ours.execute(
                "INSERT INTO oidc_sessions (id_hash, issuer, subject, created_at, expires_at)"
                " VALUES (?, 'i', 's', 1, ?)",
                (bytes.fromhex("abcdef") + bytes([last]) * 29, int(time.time()) + 600),
            )
    assert "several sessions" in users.said("sign-out", "--session", "abcdef", status=1)
    assert "Ended the session abcdef0101" in users.said("sign-out", "--session", "abcdef01")
    assert "Ended the session abcdef0202" in users.said("sign-out", "--session", "abcdef")


def test_everybody_is_signed_out(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    browsers = [signed_in(server, provider, person(name)) for name in ("ada", "bob")]
    assert "sessions have ended" in users.said("sign-out", "--all")
    assert all(is_out(browser) for browser in browsers)
    assert users.nothing("sessions")
    assert "nobody is signed in" in users.said("sessions", status=1)


def test_the_number_of_a_session_opens_nothing(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    browser = signed_in(server, provider, person("ada"))
    ((stored,),) = server.rows(
        "SELECT hex(id_hash) FROM oidc_sessions ORDER BY created_at DESC LIMIT 1",
        database="basic_auth.db-oidc",
    )
    for words in (("sessions",), ("sessions", "--json"), ("show", browser.signed_in()["username"], "--json")):
        assert stored.lower() not in users.said(*words).lower()
        assert stored[:12].lower() in users.said(*words)


def test_a_person_with_a_new_subject_gets_the_account_after_unlink(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    old, new = person("ada"), person("ada-again")
    name = name_of(old)
    browser = signed_in(server, provider, old)
    grant(server, name, "MANAGE")
    rights = users.json("show", name)["grants"]
    provider.put_user(new, email=name)
    token = provider.bearer(new, email=name)
    wire.refusal(server.call("GET", EXPERIMENTS, token=token), 403, "username_taken")

    refused = users.said("unlink", name, status=2)
    assert "--yes" in refused
    assert f"the next subject that the provider calls {name} gets it" in refused
    done = users.run("unlink", name, answer="n\n")
    assert done.returncode == 1, done.stdout
    assert "Nothing was changed" in done.stderr
    assert users.person(name)["subject"] == old

    done = users.run("unlink", name, answer="y\n")
    assert done.returncode == 0, done.stderr
    assert f"Unlinked {name} from the subject {old}" in done.stdout
    assert is_out(browser)
    assert users.person(name)["account"] == "without identity"
    assert users.json("show", name)["grants"] == rights
    assert "is bound to no identity" in users.said("unlink", name, "--yes", status=1)

    assert server.call("GET", EXPERIMENTS, token=provider.bearer(new, email=name)).status_code == 200
    row = users.json("show", name)
    assert (row["subject"], row["account"], row["grants"]) == (new, "made here", rights)
    wire.refusal(server.call("GET", EXPERIMENTS, token=provider.bearer(old)), 403, "username_taken")


def test_a_local_user_is_linked_before_the_first_login(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    carol, stranger = person("carol"), person("stranger")
    name = local(server, f"carol-{uuid.uuid4().hex}")
    grant(server, name, "EDIT")
    before = users.json("show", name)
    row = server.rows("SELECT * FROM users WHERE username = ?", name)

    said = users.said("link", name, "--subject", carol)
    assert f"Linked {name} to the subject {carol} of {provider.issuer}" in said
    browser = signed_in(server, provider, carol)
    assert browser.signed_in()["username"] == name, "not the e-mail address of the claim"
    after = users.json("show", name)
    assert (after["account"], after["subject"]) == ("linked", carol)
    assert after["grants"] == before["grants"] != []
    assert server.rows("SELECT * FROM users WHERE username = ?", name) == row, "number, password and flag"
    assert works(server, name), "the password goes on working"
    assert server.user(name_of(carol)) is None, "no second account"

    # Somebody else whom the provider calls by the name.
    provider.put_user(stranger, email=name)
    token = provider.bearer(stranger, email=name)
    wire.refusal(server.call("GET", EXPERIMENTS, token=token), 403, "username_taken")
    assert f"is bound to the subject {carol} already" in users.said("link", name, "--subject", carol)


def test_an_account_is_made_and_given_rights_before_the_first_login(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    dora = person("dora")
    name = f"{dora}-in-mlflow"
    said = users.said("link", name, "--subject", dora, status=1)
    assert "--make makes one" in said
    assert f"Linked {name} to the subject {dora}" in users.said("link", name, "--subject", dora, "--make")
    because = "there is no admin group, or no token has told any groups"
    assert users.json("show", name)["admin_because"] == because
    grant(server, name, "MANAGE")
    assert not works(server, name)
    assert signed_in(server, provider, dora).signed_in()["username"] == name
    told = users.json("show", name)
    assert (told["account"], told["password"], told["is_admin"]) == ("made here", False, False)
    assert told["grants"] == [{"kind": "experiment", "pattern": "0", "permission": "MANAGE"}]
    assert told["user_id"] >= 1 << 30


def test_linking_refuses_what_a_login_would(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    ada, bob = person("ada"), person("bob")
    signed_in(server, provider, ada)
    name = local(server, f"dora-{uuid.uuid4().hex}")
    boss = local(server, f"boss-{uuid.uuid4().hex}", is_admin=True)
    rows = server.rows("SELECT * FROM oidc_identities ORDER BY username", database="basic_auth.db-oidc")
    for words, told in (
        (("nobody", "--subject", bob), "there is no MLflow user 'nobody'"),
        ((name, "--subject", ada), f"the subject '{ada}' is bound to '{name_of(ada)}'"),
        ((name_of(ada), "--subject", bob), f"is bound to the subject '{ada}'"),
        ((ADMIN[0], "--subject", bob), "'admin' is an administrator"),
        ((boss, "--subject", bob), "is an administrator"),
        ((name, "--subject", bob, "--administrator"), "is no administrator"),
    ):
        assert told in users.said("link", *words, status=1), words
    # Everybody may come in, and no group makes administrators: nobody could prove to be one.
    no_groups = users.said("link", boss, "--subject", bob, "--administrator", status=1, OIDC_USER_GROUP="")
    assert "there is no admin group in the settings (OIDC_ADMIN_GROUP)" in no_groups
    assert "1 to 255 characters" in users.said("link", name, "--subject", "s" * 256, status=2)
    assert "1 to 255 characters" in users.said("link", name, "--subject", "ü" * 128, status=2)
    assert "1 to 255 characters" in users.said("link", name, "--subject", "", status=2)
    assert rows == server.rows(
        "SELECT * FROM oidc_identities ORDER BY username", database="basic_auth.db-oidc"
    )


def test_an_account_is_moved_to_another_subject(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    old, new = person("ada"), person("ada-again")
    name = name_of(old)
    browser = signed_in(server, provider, old)
    number = users.person(name)["user_id"]
    assert f"Linked {name} to the subject {new}" in users.said("link", name, "--subject", new, "--replace")
    assert is_out(browser)
    wire.refusal(server.call("GET", EXPERIMENTS, token=provider.bearer(old)), 403, "username_taken")
    assert signed_in(server, provider, new).signed_in()["username"] == name
    assert users.person(name)["user_id"] == number


def test_a_linked_administrator_stays_one_and_lets_in_administrators_only(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    ada = person("ada")
    boss = local(server, f"boss-{uuid.uuid4().hex}", is_admin=True)
    said = users.said("link", boss, "--subject", ada, "--administrator")
    assert "as a member of MLFLOW_admin only" in said
    told = users.said("show", boss)
    assert "no token has told of an admin group: a login is refused (account_protected)" in told
    refused = server.call("GET", EXPERIMENTS, token=provider.bearer(ada))
    wire.refusal(refused, 403, "account_protected")
    assert server.is_admin(boss) is True
    assert "not in an admin group: a login is refused (account_protected)" in users.said("show", boss)
    token = provider.bearer(ada, groups=["MLFLOW_admin"])
    answer = server.call("GET", f"/api/2.0/mlflow/users/get?username={boss}", token=token)
    assert answer.json()["user"]["is_admin"] is True
    assert works(server, boss)


def test_a_flag_that_was_set_in_mlflow_says_what_becomes_of_it(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    ada, carol = person("ada"), person("carol")
    name = local(server, f"carol-{uuid.uuid4().hex}")
    users.said("link", name, "--subject", carol)
    for subject, user in ((ada, name_of(ada)), (carol, name)):
        assert server.call("GET", EXPERIMENTS, token=provider.bearer(subject)).status_code == 200
        promoted = {"username": user, "is_admin": True}
        server.admin("PATCH", "/api/2.0/mlflow/users/update-admin", json=promoted)
    assert "yes (set in MLflow, not in an admin group: their next request takes it back)" in users.said(
        "show", name_of(ada)
    )
    assert "a login is refused (account_protected)" in users.said("show", name)
    time.sleep(CACHE + 1)
    assert server.call("GET", EXPERIMENTS, token=provider.bearer(ada)).status_code == 200
    assert server.is_admin(name_of(ada)) is False
    wire.refusal(server.call("GET", EXPERIMENTS, token=provider.bearer(carol)), 403, "account_protected")


def test_two_who_link_at_once_bind_one(server: MlflowServer, users: Command, person: Person) -> None:
    name = local(server, f"twin-{uuid.uuid4().hex}")
    subjects = [person("twin") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda subject: users.run("link", name, "--subject", subject), subjects))
    assert sorted(each.returncode for each in done) == [0, 1, 1, 1], [each.stderr for each in done]
    (winner,) = [subject for subject, each in zip(subjects, done, strict=True) if each.returncode == 0]
    assert users.person(name)["subject"] == winner


def test_a_name_cannot_tell_a_terminal_what_to_do(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    """Whoever may choose a group or a subject at the provider would write on the screen of who looks."""
    evil = "\x1b[2J\x1b]0;owned\x07\r\n\u202ebad\x9b31m"
    ada = person("ada", groups=["MLFLOW", evil])
    signed_in(server, provider, ada)
    name = local(server, f"eve-{uuid.uuid4().hex}")
    users.said("link", name, "--subject", f"sub{evil}")
    for words in (
        ("list",),
        ("show", name),
        ("show", name_of(ada)),
        ("sessions",),
        ("unlink", name, "--yes"),
    ):
        said = users.said(*words)
        assert not set("\x1b\x07\r\x9b\u202e") & set(said), (words, said)
    assert r"\x1b[2J\x1b]0;owned\x07\r\n\u202ebad\x9b31m" in users.said("show", name_of(ada))
    assert "\x1b" not in users.said("list", "--group", evil, "--json")


@pytest.fixture
def crowd(server: MlflowServer) -> Iterator[list[str]]:
    """More than two pages of people, each with a session."""
    now = int(time.time())
    names = [f"crowd-{number:05}" for number in range(1_203)]
    with closing(sqlite3.connect(server.folder / "basic_auth.db-oidc", timeout=15)) as ours, ours:
        ours.executemany(
            "INSERT INTO oidc_identities VALUES ('https://other.example', ?, ?, ?, '[\"MLFLOW\"]', ?, 1)",
            ((name, name, number, now) for number, name in enumerate(names, 1 << 30)),
        )
        ours.executemany(
            "INSERT INTO oidc_sessions (id_hash, issuer, subject, created_at, expires_at)"
            " VALUES (?, 'https://other.example', ?, ?, ?)",
            ((name.encode().ljust(32), name, now, now + 600) for name in names),
        )
    yield names
    with closing(sqlite3.connect(server.folder / "basic_auth.db-oidc", timeout=15)) as ours, ours:
        ours.execute("DELETE FROM oidc_sessions WHERE issuer = 'https://other.example'")
        ours.execute("DELETE FROM oidc_identities WHERE issuer = 'https://other.example'")


def test_nobody_is_lost_between_two_pages(server: MlflowServer, users: Command, crowd: list[str]) -> None:
    listed = users.json("list")
    names = [row["username"] for row in listed]
    assert names == sorted(set(names))
    assert [row["username"] for row in listed if row["account"] == "gone"] == crowd
    assert {row["sessions"] for row in listed if row["account"] == "gone"} == {1}
    assert [row["username"] for row in users.json("sessions") if row["username"] in set(crowd)] == crowd
    said = users.said("list")
    assert said.count("https://other.example") == len(crowd), "with two issuers each line has its own"


def test_what_was_asked_wrongly(server: MlflowServer, users: Command) -> None:
    for words in ((), ("list", "--what"), ("link", "x"), ("sign-out",), ("sign-out", "x", "--all")):
        done = users.run(*words)
        assert done.returncode == 2, (words, done.stdout)
        assert "usage:" in done.stderr
    for handle in ("abc", "xyzxyz", "a" * 65):
        assert "hexadecimal digits" in users.said("sign-out", "--session", handle, status=2)


@pytest.mark.parametrize(
    ("ini", "told"),
    [
        (None, "cannot be opened"),
        ("[mlflow]\n", "expected database_uri"),
        ("[mlflow]\ndatabase_uri = sqlite:///elsewhere.db\n", "there is no file"),
        ("[mlflow]\ndatabase_uri = sqlite:///100%.db\n", "is written '%%'"),
        ("[mlflow]\ndatabase_uri = nonsense\n", "no address that can be read"),
        ("[mlflow]\ndatabase_uri = postgresql://u:the-secret@127.0.0.1:1/x\n", "database"),
        (
            "[mlflow]\ndatabase_uri = mysql+pymysql://u:the-secret@127.0.0.1:1/x?nonsense=1\n",
            "the driver does not take",
        ),
        ("[mlflow]\ndatabase_uri = sqlite:///empty.db\n", "no table 'users'"),
    ],
)
def test_a_place_without_the_database(
    server: MlflowServer, users: Command, tmp_path: Any, ini: str | None, told: str
) -> None:
    file = tmp_path / "basic_auth.ini"
    if ini is not None:
        file.write_text(ini.replace("empty.db", f"{tmp_path}/empty.db"))
    sqlite3.connect(tmp_path / "empty.db").close()
    for words in (("list",), ("link", "x", "--subject", "y", "--issuer", "i"), ("sign-out", "--all")):
        said = users.said(*words, status=1, MLFLOW_AUTH_CONFIG_PATH=str(file))
        assert told in said, said
        assert "the-secret" not in said
    assert [path.name for path in tmp_path.iterdir() if "oidc" in path.name] == [], "nothing was made"


def test_with_settings_that_are_not_there(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    """An administrator's shell may lack the variables of the service."""
    ada = person("ada")
    signed_in(server, provider, ada)
    bare = dict.fromkeys(settings_for(provider.issuer))
    assert ada in users.said("list", **bare)
    assert "the settings have a fault" in users.said("show", name_of(ada), **bare)
    assert "expected the issuer" in users.said("link", name_of(ada), "--subject", "x", status=1, **bare)
    assert "OIDC_SESSION_CACHE_SECONDS" in users.said("sign-out", name_of(ada), **bare)


def test_a_reader_that_has_enough_is_no_fault(server: MlflowServer, users: Command, crowd: list[str]) -> None:
    """`mlflow-oidc users list | head -1`."""
    import subprocess

    from support import venvs

    program = venvs.program(server.version, "mlflow-oidc")
    done = subprocess.run(
        ["sh", "-c", f"{program} users list | head -1"],
        cwd=server.folder,
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("USER"), done.stdout
    assert done.stderr == ""


def test_before_anybody_has_signed_in(make_server: MakeServer, provider: Provider, person: Person) -> None:
    """Linked in the evening, and the function switched on in the morning; on the oldest MLflow, too."""
    settings = settings_for(provider.issuer)
    basic = "mlflow.server.auth:authenticate_request_basic_auth"
    server = make_server("2.9.2", provider.issuer, settings=settings, function=basic)
    users = Command(server)
    assert "nobody has signed in" in users.said("list", status=1)
    assert users.json("list", "--all")[0]["username"] == ADMIN[0]
    assert not list(server.folder.glob("*-oidc")), "to look is to leave no trace"
    carol = person("carol")
    name = local(server, "carol")
    users.said("link", name, "--subject", carol)
    server.stop()

    morning = make_server("2.9.2", provider.issuer, settings=settings, folder=server.folder, fresh=True)
    assert signed_in(morning, provider, carol).signed_in()["username"] == name
    assert morning.user(name_of(carol)) is None
    told = Command(morning).said("show", name)
    assert "roles: MLflow has them since 3.12" in told
    assert "linked" in told
    assert "1 session has ended" in Command(morning).said("sign-out", name)


def test_a_table_of_an_older_version_is_read_as_it_is(
    users: Command, server: MlflowServer, tmp_path: Any
) -> None:
    import shutil

    shutil.copy(server.folder / "basic_auth.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "basic_auth.db-oidc")) as ours, ours:
        ours.executescript(
            "CREATE TABLE oidc_identities (issuer TEXT NOT NULL, subject TEXT NOT NULL,"
            " username TEXT NOT NULL UNIQUE, user_id INTEGER NOT NULL, groups TEXT, told_at INTEGER NOT NULL,"
            " made_here INTEGER NOT NULL, PRIMARY KEY (issuer, subject)) WITHOUT ROWID;"
            "CREATE TABLE oidc_sessions (id_hash BLOB NOT NULL PRIMARY KEY, issuer TEXT NOT NULL,"
            " subject TEXT NOT NULL, provider_sid TEXT, created_at INTEGER NOT NULL,"
            " expires_at INTEGER NOT NULL, sealed_id_token TEXT) WITHOUT ROWID;"
            "INSERT INTO oidc_identities VALUES ('i', 's', 'admin', 1, NULL, 0, 0);"
            "INSERT INTO oidc_sessions VALUES (zeroblob(32), 'i', 's', NULL, 1, 9999999999, NULL);"
        )
    file = tmp_path / "basic_auth.ini"
    file.write_text(f"[mlflow]\ndatabase_uri = sqlite:///{tmp_path}/basic_auth.db\n")
    said = users.said("sessions", MLFLOW_AUTH_CONFIG_PATH=str(file))
    assert re.search(r"^0{12} +admin +1970-01-01 00:00:01Z +2286-11-20 17:46:39Z +-$", said, re.MULTILINE), (
        said
    )


def test_a_login_may_take_a_local_user_where_the_rule_is_on(
    make_server: MakeServer, provider: Provider, person: Person
) -> None:
    settings = settings_for(provider.issuer, OIDC_LINK_EXISTING_USERS="true")
    server = make_server("3.17.2", provider.issuer, settings=settings)
    users = Command(server)
    carol, again, boss = (person(name) for name in ("carol", "carol-again", "boss"))
    local(server, name_of(carol))
    local(server, name_of(boss), is_admin=True)
    row = server.rows("SELECT * FROM users WHERE username = ?", name_of(carol))

    assert signed_in(server, provider, carol).signed_in()["username"] == name_of(carol)
    assert users.person(name_of(carol))["account"] == "linked"
    assert server.rows("SELECT * FROM users WHERE username = ?", name_of(carol)) == row
    assert works(server, name_of(carol))
    # By the claim of OIDC_USERNAME_CLAIM, for the first subject that comes; never an administrator by name.
    token = provider.bearer(again, email=name_of(carol))
    wire.refusal(server.call("GET", EXPERIMENTS, token=token), 403, "username_taken")
    refused = server.call("GET", EXPERIMENTS, token=provider.bearer(boss))
    wire.refusal(refused, 403, "account_protected")
    unverified = provider.bearer(again, email=name_of(carol), email_verified=False)
    wire.refusal(server.call("GET", EXPERIMENTS, token=unverified), 403, "email_unverified")
    said = users.said("unlink", name_of(carol), status=2)
    assert "gets it with all of them" in said, "the rule hands it over once more"


def test_every_other_word_after_unlink(
    server: MlflowServer, users: Command, provider: Provider, person: Person
) -> None:
    """A linked account is nobody's after unlink; one that got a password is told of."""
    carol, ada = person("carol"), person("ada")
    name = local(server, f"carol-{uuid.uuid4().hex}")
    users.said("link", name, "--subject", carol)
    assert "no login gets it until it is linked" in users.said("unlink", name, status=2)
    users.said("unlink", name, "--yes")
    token = provider.bearer(carol, email=name, sub=carol)
    wire.refusal(server.call("GET", EXPERIMENTS, token=token), 403, "username_taken")

    signed_in(server, provider, ada)
    assert "flag" not in users.said("unlink", name_of(ada), status=2)
    promoted = {"username": name_of(ada), "is_admin": True}
    server.admin("PATCH", "/api/2.0/mlflow/users/update-admin", json=promoted)
    told = users.said("unlink", name_of(ada), status=2)
    assert "The administrator's flag, which it has now, stays only if that one is in the admin group." in told
    change = {"username": name_of(ada), "password": PASSWORD}
    server.admin("PATCH", "/api/2.0/mlflow/users/update-password", json=change)
    assert not works(server, name_of(ada)), "a password beside a living identity opens nothing"
    # What groups have given goes with the binding, and what an administrator gave does not.
    for role in ("oidc:scientists", f"of-{ada}"):
        body = {"name": role, "workspace": "default"}
        made = server.admin("POST", "/api/3.0/mlflow/roles/create", json=body)["role"]
        body = {"username": name_of(ada), "role_id": made["id"]}
        server.admin("POST", "/api/3.0/mlflow/roles/assign", json=body)
    said = users.said("unlink", name_of(ada), "--yes")
    assert "The account was given a password" in said
    assert "Roles that groups gave and that are taken away: 1." in said
    assert [role["name"] for role in users.json("show", name_of(ada))["roles"]] == [f"of-{ada}"]
    assert works(server, name_of(ada))


def test_a_file_that_the_command_makes_is_the_servers(
    server: MlflowServer, users: Command, tmp_path: Any
) -> None:
    """`sudo mlflow-oidc users link` before the first start: a file of root's would stop the server."""
    database = tmp_path / "basic_auth.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE users (id INTEGER, username, password_hash, is_admin)")
        connection.execute("INSERT INTO users VALUES (1, 'carol', 'scrypt:', 0)")
        connection.commit()
    database.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(database, 1234, 2345)
    file = tmp_path / "basic_auth.ini"
    file.write_text(f"[mlflow]\ndatabase_uri = sqlite:///{database}\n")
    users.said("link", "carol", "--subject", "1", MLFLOW_AUTH_CONFIG_PATH=str(file))
    theirs, ours = database.stat(), Path(f"{database}-oidc").stat()
    assert (ours.st_mode, ours.st_uid, ours.st_gid) == (theirs.st_mode, theirs.st_uid, theirs.st_gid)
