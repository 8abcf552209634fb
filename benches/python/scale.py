"""A big company beside a small one: 100,000 people and 2,000 groups, and somebody who is in 300 of them."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import children
import keys
import table
from provider import Provider
from targets import Found

PEOPLE, GROUPS, MEMBERSHIPS, LINES = 100_000, 2_000, 300, 1_000
# How many groups an ordinary person is in.
ORDINARY = 5
CASES = {"remembered bearer": 300, "session": 300, "bearer never seen": 60, "first sight of a user": 10}


def measure(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints times and memory; ratios beside the small company go to `found`."""
    people = 5_000 if quick else PEOPLE
    one_key = {"RS256": provider.signing["RS256"], "EdDSA": provider.signing["EdDSA"]}
    sides = {
        "10 people, 5 groups": (10, ORDINARY, {}),
        f"{people:,} people, {ORDINARY} groups": (people, ORDINARY, {}),
        f"{people:,} people, {MEMBERSHIPS} groups": (people, MEMBERSHIPS, {}),
    }
    lines = role_lines(folder / "roles.ini")
    if lines is not None:
        name = f"{people:,} people, {MEMBERSHIPS} groups, {LINES:,} role lines"
        sides[name] = (people, MEMBERSHIPS, {"OIDC_ROLES_FILE": str(lines)})
    with ExitStack() as stack:
        workers: dict[str, children.Child] = {}
        for place, (name, (count, memberships, variables)) in enumerate(sides.items()):
            own = stack.enter_context(Provider(one_key))
            own.groups = group_names(memberships)
            home = folder / f"scale-{place}"
            workers[name] = _worker(home, own, folder / "keys", count, variables)
            stack.enter_context(children.children(workers[name]))
        for worker in workers.values():
            worker.ask("prepare")
        sizes = {name: worker.ask("token_size") for name, worker in workers.items()}
        print(_times(workers, sizes, quick, found))
        print(_reads(folder, one_key, quick))
        print(_memory(workers, quick))
    print(_commands(folder, people))


def group_names(count: int) -> list[str]:
    return [keys.GROUP, *(f"company-team-{number:04}" for number in range(count - 1))]


def role_lines(path: Path) -> Path | None:
    """1,000 lines of `[oidc:roles]`, of which the groups of the person give 300; where the wheel has them."""
    from mlflow_oidc import _native

    if "OIDC_ROLES" not in _native.settings_markdown():
        return None
    # Each role has a line for its name, one for its group and two for its grants.
    blocks = (
        f"team-{number:04} =\n    group company-team-{number * 4:04}\n    experiment {number} EDIT\n"
        f"    registered_model model-{number} READ\n"
        for number in range(LINES // 4)
    )
    path.write_text("".join(blocks))
    return path


def _worker(
    home: Path, provider: Provider, signing: Path, count: int, variables: dict[str, str]
) -> children.Child:
    settings = {"issuer": provider.issuer, "keys": str(signing), "groups": provider.groups}
    made = home.with_name(f"{home.name}-made")
    # Role lines first when everybody is there: they have nothing to do with how rows are made.
    child = children.Child(
        "scale_worker.py", children.home(made), settings, **children.our_settings(provider.issuer)
    )
    with children.children(child):
        child.ask("prepare")
    _people(made, provider.issuer, count)
    return children.Child(
        "scale_worker.py",
        children.home(home, template=made),
        settings,
        **children.our_settings(provider.issuer),
        **variables,
    )


def _people(folder: Path, issuer: str, count: int) -> None:
    """Rows as logins leave them: each in a few of all the groups, each with a session."""
    now = int(time.time())
    teams = group_names(GROUPS + 1)
    named = [(place, keys.username(f"person-{place}")) for place in range(count)]
    with sqlite3.connect(folder / "basic_auth.db") as users:
        (template,) = users.execute(
            "SELECT password_hash FROM users WHERE username = ?", (keys.username(keys.SUBJECT),)
        ).fetchone()
        users.executemany(
            "INSERT INTO users (id, username, password_hash, is_admin) VALUES (?, ?, ?, 0)",
            ((1000 + place, name, template) for place, name in named),
        )
    with sqlite3.connect(folder / "basic_auth.db-oidc") as ours:
        ours.executemany(
            "INSERT INTO oidc_identities (issuer, subject, username, user_id, groups, told_at, made_here)"
            " VALUES (?, ?, ?, ?, ?, ?, 1)",
            (
                (issuer, f"person-{place}", name, 1000 + place, _groups(teams, place), now - 60)
                for place, name in named
            ),
        )
        ours.executemany(
            "INSERT INTO oidc_sessions (id_hash, issuer, subject, created_at, expires_at, sealed_id_token)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                (place.to_bytes(32, "big"), issuer, f"person-{place}", now, now + 36_000, "x" * 2_000)
                for place, _ in named
            ),
        )


def _groups(teams: list[str], place: int) -> str:
    return json.dumps([keys.GROUP, *(teams[1 + (place * 7 + step) % GROUPS] for step in range(ORDINARY - 1))])


def _times(workers: dict[str, children.Child], sizes: dict[str, int], quick: bool, found: Found) -> str:
    samples: dict[str, dict[str, list[int]]] = {name: {} for name in workers}
    for _ in range(3 if quick else 30):
        for case, count in CASES.items():
            for name, worker in workers.items():
                timed = worker.ask("round", case=case, count=count, warm=min(count, 10))
                samples[name].setdefault(case, []).extend(timed)
        for name, worker in workers.items():
            samples[name].setdefault("login, whole", []).extend(worker.ask("logins", count=3))
    first, *others = workers
    rows = [("bytes of a bearer", *(f"{size:,}" for size in sizes.values()))]
    for case in samples[first]:
        medians = {name: statistics.median(samples[name][case]) / 1000 for name in workers}
        cells = [table.figure(medians[first])]
        for name in others:
            ratio = medians[name] / medians[first]
            cells.append(f"{table.figure(medians[name])} ({ratio:.2f})")
            found[f"scale: {case}: {name}"] = ratio
        rows.append((case, *cells))
    return table.markdown(("µs, median (times the first)", *workers), rows) + "\n"


def _reads(folder: Path, signing: dict[str, keys.Key], quick: bool) -> str:
    """Sessions that are not remembered: each request reads its row."""
    samples: dict[int, list[int]] = {}
    with ExitStack() as stack:
        workers = {}
        for place, count in enumerate((10, 5_000 if quick else PEOPLE)):
            own = stack.enter_context(Provider(signing))
            own.groups = group_names(ORDINARY)
            never = {"OIDC_SESSION_CACHE_SECONDS": "0"}
            workers[count] = _worker(folder / f"reads-{place}", own, folder / "keys", count, never)
            stack.enter_context(children.children(workers[count]))
            workers[count].ask("prepare")
        for _ in range(3 if quick else 30):
            for count, worker in workers.items():
                samples.setdefault(count, []).extend(worker.ask("round", case="session", count=100))
    few, many = (statistics.median(timed) / 1000 for timed in samples.values())
    row = ("session, its row read each time", table.figure(few), f"{table.figure(many)} ({many / few:.2f})")
    return table.markdown(("µs, median (times the first)", *(f"{n:,} people" for n in samples)), [row]) + "\n"


def _memory(workers: dict[str, children.Child], quick: bool) -> str:
    _, ordinary, grouped, *_ = workers.values()
    count = 1_000 if quick else PEOPLE - 1_000
    some = 1_000 if quick else 10_000
    rows = []
    for what, got in (
        (f"each of {count:,} people remembered, {ORDINARY} groups", ("people", ordinary, count)),
        (f"each of {some:,} people remembered, {MEMBERSHIPS} groups", ("people", grouped, some)),
        (f"each of 1,000 sessions remembered, {ORDINARY} groups", ("sessions", ordinary, 1_000)),
        (f"each of 1,000 sessions remembered, {MEMBERSHIPS} groups", ("sessions", grouped, 1_000)),
    ):
        kind, worker, number = got
        said = (
            worker.ask("people_remembered", count=number, begin=0)
            if kind == "people"
            else worker.ask("sessions_remembered", count=100 if quick else number)
        )
        rows.append((what, f"{said['resident']:,.0f}", f"{said['allocated']:,.0f}"))
    return table.markdown(("bytes in a worker", "resident", "allocated"), rows) + "\n"


def _commands(folder: Path, people: int) -> str:
    """`mlflow-oidc users` on both databases: seconds of the CPU, and the most memory that it had."""
    rows = []
    for words in (
        ("list",),
        ("list", "--all", "--json"),
        ("list", "--group", "company-team-0007"),
        ("show", keys.username("person-7")),
        ("sessions",),
        ("sign-out", keys.username("person-7")),
    ):
        cells = []
        for home in (folder / "scale-0", folder / "scale-1"):
            seconds, megabytes = _run(home, words)
            cells.append(f"{seconds:.2f} s, {megabytes:.0f} MiB")
        rows.append((f"`mlflow-oidc users {' '.join(words)}`", *cells))
    return table.markdown(("command, CPU", "10 people", f"{people:,} people"), rows) + "\n"


def _run(home: Path, words: tuple[str, ...]) -> tuple[float, float]:
    program = Path(sys.executable).with_name("mlflow-oidc")
    process = subprocess.Popen(
        [str(program), "users", *words],
        cwd=home,
        env=children.environment(home, **children.our_settings("http://127.0.0.1:1")),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise children.Failed(f"users {' '.join(words)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
