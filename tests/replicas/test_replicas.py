"""Three servers over one PostgreSQL: what one of them does, all of them know, and what breaks, heals."""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import figures
import requests
from cluster import SESSION_CACHE_SECONDS, Cluster

from support import wire
from support.actors import Actors, told_by
from support.bench import EXPERIMENTS
from support.browser import Browser
from support.nginx import NAME, PUBLIC, answered_by
from support.probes import TRACES
from support.provider import Provider

Person = Callable[..., str]

SET_TAG = "/api/2.0/mlflow/experiments/set-experiment-tag"
# How long the provider is gone: a minute where figures are wanted (`make test-replicas`), less in CI.
GONE_SECONDS = 60 if os.environ.get("MLFLOW_OIDC_FIGURES") else 12
VISITORS = 6


def visit(browser: Browser) -> Callable[[], str]:
    return lambda: told_by(browser.xhr("GET", EXPERIMENTS))


def call(cluster: Cluster, token: str, path: str = EXPERIMENTS, method: str = "GET") -> Callable[[], str]:
    return lambda: told_by(cluster.proxy.call(method, path, token=token))


def test_a_login_begun_on_one_is_finished_on_the_next_and_used_on_the_third(
    replicas: Cluster, provider: Provider, person: Person
) -> None:
    for begins, ends, serves in itertools.permutations(replicas.ports):
        browser, alice = replicas.browser(), person("alice")
        replicas.proxy.next_is(begins)
        begun = browser.open(f"{PUBLIC}/oidc/login?next=/mlflow/&go=1")
        assert answered_by(begun) == begins
        callback = browser.authorize(begun.headers["Location"], alice)
        replicas.proxy.next_is(ends)
        landed = browser.open(callback)
        assert (landed.headers["Location"], answered_by(landed)) == (f"{PUBLIC}/", ends)
        replicas.proxy.next_is(serves)
        answer = browser.xhr("GET", EXPERIMENTS)
        assert (answer.status_code, answered_by(answer)) == (200, serves)


def all_are_told(cluster: Cluster, ask: Callable[[], requests.Response], status: int, code: str) -> None:
    """By every worker: two of each server take what comes in no order that is ours."""
    answered: Counter[int] = Counter()
    while min((answered[port] for port in cluster.ports), default=0) < 8:
        answer = ask()
        wire.refusal(answer, status, code)
        answered[answered_by(answer)] += 1


def seen_by_all(cluster: Cluster, browser: Browser) -> None:
    """Every worker remembers the session."""
    answered: Counter[int] = Counter()
    while min(answered[port] for port in cluster.ports) < 8:
        answer = browser.xhr("GET", EXPERIMENTS)
        assert answer.status_code == 200, answer.text
        answered[answered_by(answer)] += 1


def test_who_signs_out_on_one_is_out_on_all(replicas: Cluster, provider: Provider, person: Person) -> None:
    browser = replicas.browser()
    browser.login(provider, person("alice"))
    seen_by_all(replicas, browser)
    stolen = {"Cookie": f"__Secure-mlflow_oidc={browser.cookie}", **wire.XHR}
    browser.logout()
    time.sleep(SESSION_CACHE_SECONDS + 0.2)
    all_are_told(
        replicas, lambda: replicas.proxy.call("GET", EXPERIMENTS, headers=stolen), 401, "session_ended"
    )


def test_who_loses_the_group_on_one_is_out_on_all(
    replicas: Cluster, provider: Provider, person: Person
) -> None:
    browser, alice = replicas.browser(), person("alice")
    browser.login(provider, alice)
    seen_by_all(replicas, browser)
    lost = provider.bearer(alice, groups=["others"])
    wire.refusal(replicas.proxy.call("GET", EXPERIMENTS, token=lost), 403, "group_required")
    time.sleep(SESSION_CACHE_SECONDS + 0.2)
    answered: Counter[int] = Counter()
    while min(answered[port] for port in replicas.ports) < 8:
        answer = browser.xhr("GET", EXPERIMENTS)
        # Whoever asks first ends the session; after that there is none.
        assert told_by(answer) in ("403 group_required", "401 session_ended"), answer.text
        answered[answered_by(answer)] += 1
    older = provider.bearer(alice, iat=int(time.time()) - 30)
    all_are_told(
        replicas, lambda: replicas.proxy.call("GET", EXPERIMENTS, token=older), 403, "group_required"
    )


def crowd(cluster: Cluster, provider: Provider, person: Person) -> Actors:
    """People and programs whom every server knows."""
    actors = Actors()
    for _ in range(VISITORS):
        browser, visitor = cluster.browser(), person("visitor")
        browser.login(provider, visitor)
        actors.add("a session", visit(browser))
        token = provider.bearer(person("program"))
        seen = cluster.proxy.call("GET", EXPERIMENTS, token=token)
        assert seen.status_code == 200, seen.text
        actors.add("a bearer", call(cluster, token))
    return actors


def newcomers(cluster: Cluster, provider: Provider, person: Person, actors: Actors, known: list[str]) -> None:
    """Somebody new again and again: by a whole login, and by a token that nobody has seen."""

    def log_in() -> str:
        newcomer = person("newcomer")
        browser = cluster.browser()
        begun = browser.open(f"{PUBLIC}/oidc/login?next=/mlflow/&go=1")
        if begun.status_code != 302:
            return told_by(begun)
        landed = browser.open(browser.authorize(begun.headers["Location"], newcomer))
        if landed.status_code != 302:
            return told_by(landed)
        known.append(newcomer)
        return told_by(browser.xhr("GET", EXPERIMENTS))

    def send() -> str:
        # The provider itself need not know the one whom its token is about.
        newcomer = f"newcomer-{uuid.uuid4().hex}"
        told = call(cluster, provider.bearer(newcomer))()
        if told == "200":
            known.append(newcomer)
        return told

    def moved() -> Callable[[], str]:
        """Into the group and out again, at whichever server answers; MLflow says what that allows."""
        mover = f"mover-{uuid.uuid4().hex}"
        turns = itertools.cycle([(["MLFLOW", "editors"], "200"), (["MLFLOW"], "403")])
        # One second later each: of two words of the same second nobody can tell which is the newer one.
        seconds = itertools.count(int(time.time()) - 1000)
        known.append(mover)

        def act() -> str:
            groups, expected = next(turns)
            tag = {"experiment_id": "0", "key": mover, "value": "was here"}
            token = provider.bearer(mover, groups=groups, iat=next(seconds))
            told = told_by(cluster.proxy.call("POST", SET_TAG, token=token, json=tag))
            if told == expected:
                return "200"
            return told if told.startswith("50") else f"wrong right: {told} for {groups}"

        return act

    for _ in range(3):
        actors.add("a mover", moved())
    actors.add("a first login", log_in)
    actors.add("a first login", log_in)
    actors.add("a first bearer", send)
    actors.add("a first bearer", send)


def everybody(cluster: Cluster, provider: Provider, person: Person) -> tuple[Actors, list[str]]:
    """All who ask while something breaks, and the new ones among them who have been let in so far."""
    known: list[str] = []
    actors = crowd(cluster, provider, person)
    newcomers(cluster, provider, person, actors, known)
    return actors, known


def nothing_lost_or_doubled(cluster: Cluster, known: list[str]) -> None:
    """Each person has one row of ours and one of MLflow's, and the one is the other's."""
    query = "SELECT subject, username, user_id FROM oidc_identities"
    identities = {subject: (username, number) for subject, username, number in cluster.rows(query)}
    users = dict(cluster.rows("SELECT username, id FROM users"))
    assert len(identities) == cluster.rows("SELECT count(*) FROM oidc_identities")[0][0]
    assert len(users) == cluster.rows("SELECT count(*) FROM users")[0][0]
    assert known, "nobody new was let in: nothing is proved"
    for subject in known:
        username, number = identities[subject]
        assert username == f"{subject}@example.org"
        assert users[username] == number
    # Whoever could come in reads, and whom the provider's newest word makes an editor is one: nobody else.
    rights: dict[str, set[str]] = {}
    query = (
        "SELECT users.username, roles.name FROM user_role_assignments "
        "JOIN users ON users.id = user_id JOIN roles ON roles.id = role_id"
    )
    assigned = cluster.rows(query)
    assert len(assigned) == len(set(assigned))
    for username, role in assigned:
        rights.setdefault(username, set()).add(role)
    groups = dict(cluster.rows("SELECT username, groups FROM oidc_identities"))
    for subject in known:
        username = f"{subject}@example.org"
        wanted = {"oidc:readers"} | ({"oidc:editors"} if "editors" in json.loads(groups[username]) else set())
        assert rights[username] == wanted, username
    # Whoever was interrupted has no row, or one that the next sight completes.
    for subject, (username, number) in identities.items():
        assert number in (0, users.get(username)), subject


def test_a_server_is_killed_amid_logins(replicas: Cluster, provider: Provider, person: Person) -> None:
    actors, known = everybody(replicas, provider, person)
    victim = replicas.servers[1]
    with actors.acting():
        time.sleep(2)
        killed = time.monotonic()
        victim.kill()
        time.sleep(3)
        restarted = time.monotonic()
        victim.start()
        # nginx leaves a server alone for ten seconds once it did not answer.
        time.sleep(11)
        replicas.proxy.next_is(victim.port)
    figures.note("a server killed with -9 and started again", actors, killed)
    for who, counts in actors.all_counts().items():
        # What that server had begun has no answer: nginx says so, or asks another where it may.
        # A callback that nginx brings to another one has a code that the dead one may have spent.
        lost = {"502", "502 provider_error"} if who == "a first login" else {"502"}
        assert set(counts) <= {"200", *lost}, (who, counts)
        assert counts["200"] > 20, (who, counts)
        assert sum(counts[what] for what in lost) <= 4, (who, counts)
    assert actors.healed(killed) < restarted - killed + 5
    nothing_lost_or_doubled(replicas, known)


def test_the_database_is_restarted_under_load(replicas: Cluster, provider: Provider, person: Person) -> None:
    actors, known = everybody(replicas, provider, person)
    with actors.acting():
        time.sleep(2)
        with replicas.database.stopped():
            time.sleep(4)
        back = time.monotonic()
        time.sleep(8)
    figures.note("PostgreSQL gone for 4 s", actors, back)
    for who, counts in actors.all_counts().items():
        assert {what.partition(" ")[0] for what in counts} <= {"200", "503"}, (who, counts)
        assert counts["200"] > 20, (who, counts)
    assert actors.healed(back) < 5
    nothing_lost_or_doubled(replicas, known)


def test_the_provider_is_gone(replicas: Cluster, provider: Provider, person: Person) -> None:
    actors, known = everybody(replicas, provider, person)
    with actors.acting():
        time.sleep(2)
        provider.stop()
        try:
            time.sleep(GONE_SECONDS)
        finally:
            provider.start()
        back = time.monotonic()
        time.sleep(10)
    figures.note(f"the provider gone for {GONE_SECONDS} s", actors, back)
    counts = actors.all_counts()
    # Whoever is signed in, or has a token, needs nothing of the provider: not even a new one.
    for who in ("a session", "a bearer", "a first bearer", "a mover"):
        assert set(counts[who]) == {"200"}, (who, counts[who])
    logins = {what.partition(" ")[0] for what in counts["a first login"]}
    assert logins <= {"200", "503", "ConnectionError"}, counts["a first login"]
    assert actors.healed(back) < 9
    nothing_lost_or_doubled(replicas, known)


def test_one_person_seen_for_the_first_time_by_all_at_once(
    replicas: Cluster, provider: Provider, person: Person
) -> None:
    """Rows of a person are made once, and nobody who comes at the same moment is turned away for it."""
    for _ in range(5):
        alice = person("alice")
        tokens = [provider.bearer(alice) for _ in range(24)]
        with ThreadPoolExecutor(len(tokens)) as pool:
            told = list(pool.map(lambda token: call(replicas, token)(), tokens))
        assert set(told) == {"200"}, Counter(told)
        nothing_lost_or_doubled(replicas, [alice])


def test_a_database_that_answers_nothing_does_not_hold_the_event_loop(
    replicas: Cluster, provider: Provider, person: Person
) -> None:
    """It serves the health checks of a worker, too: a load balancer would take out all of them."""
    strangers = [provider.bearer(person("stranger")) for _ in range(40)]
    server = replicas.servers[0]
    waited: list[float] = []
    with replicas.database.frozen():
        for token in strangers:
            answer = server.call("POST", TRACES, token=token, headers={"Host": NAME}, timeout=20)
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"] == "1"
            began = time.monotonic()
            assert server.call("GET", "/health", headers={"Host": NAME}, timeout=20).status_code == 200
            waited.append(time.monotonic() - began)
    # Sixty seconds and more where somebody on the loop waits for the database.
    assert max(waited) < 1, sorted(waited)[-5:]
    answer = server.call_native("POST", TRACES, token=strangers[0], headers={"Host": NAME})
    assert answer.status_code in (400, 415, 422), answer.text
