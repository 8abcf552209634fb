"""What grows: memory with tokens, and time with users, sessions and keys."""

from __future__ import annotations

import sqlite3
import statistics
import time
from pathlib import Path

import children
import keys
import table
from provider import Provider
from targets import Found

VALID, INVALID = "valid", "invalid"
KINDS = ("resident", "allocated")
# Some are remembered before anything is counted, so that buffers and arenas are there.
BEGUN = 2_000
# So many tokens are counted for one's size; fewer than are remembered at most.
COUNTED = 10_000
MEBIBYTE = 1024 * 1024


def memory(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints by how much the memory of a worker grows, with us and with the constant function."""
    flood = 20_000 if quick else 100_000
    steps = {
        "begun": _tokens(folder / "begun", provider, BEGUN, VALID),
        f"{COUNTED:,} valid tokens": _tokens(folder / "counted", provider, COUNTED, VALID),
        f"{flood - COUNTED:,} more valid tokens": _tokens(folder / "more", provider, flood - COUNTED, VALID),
        f"{flood:,} invalid tokens": _tokens(folder / "bad", provider, flood, INVALID),
    }
    grown: dict[str, dict[str, dict[str, int]]] = {}
    for name in ("constant", "ours"):
        settings = {"issuer": provider.issuer, "keys": str(folder / "keys")}
        home = children.home(folder / f"memory-{name}")
        child = children.Child("worker.py", home, settings, **children.our_settings(provider.issuer))
        with children.children(child):
            child.ask("prepare")
            grown[name] = {
                step: child.ask("flood", function=name, kind=kind, tokens=str(tokens))
                for step, (kind, tokens) in steps.items()
            }
    del steps["begun"]
    beyond = {
        step: {what: grown["ours"][step][what] - grown["constant"][step][what] for what in KINDS}
        for step in steps
    }
    counted, more, invalid = beyond.values()
    found["bytes a remembered token"] = max(counted.values()) / COUNTED
    found["MiB after valid tokens"] = max(counted[what] + more[what] for what in KINDS) / MEBIBYTE
    found["MiB after invalid tokens"] = max(invalid.values()) / MEBIBYTE
    sides = (grown["constant"], grown["ours"], beyond)
    rows = [
        (step, *(f"{side[step][what] / MEBIBYTE:+.2f}" for what in KINDS for side in sides)) for step in steps
    ]
    head = (f"{what}, {who}" for what in KINDS for who in ("constant", "ours", "beyond it"))
    print(table.markdown(("memory, MiB", *head), rows))
    each = ", ".join(f"{counted[what] / COUNTED:.0f} {what}" for what in KINDS)
    print(f"\nBytes a remembered token, all in all: {each}.\n")


def _tokens(path: Path, provider: Provider, count: int, kind: str) -> tuple[str, Path]:
    """A file with so many distinct tokens, one a line; EdDSA, because signing by RSA would take minutes."""
    key = provider.signing["EdDSA"]
    with path.open("w") as lines:
        for _ in range(count):
            token = key.token(keys.claims(provider.issuer))
            lines.write(f"{token if kind == VALID else keys.tampered(token)}\n")
    return kind, path


def latency(folder: Path, provider: Provider, quick: bool, found: Found) -> None:
    """Prints times with few people known and with many, and with one key and with many.

    The requests are the same on both sides: one remembered bearer, one session, tokens of one user.
    """
    many = 5_000 if quick else 100_000
    one_key = {"RS256": provider.signing["RS256"]}
    filling = tuple(keys.generate("ES256", f"other-{number}") for number in range(99))
    with Provider(one_key) as first, Provider(one_key, filling) as second:
        sides = {
            "10 users and sessions": _peopled(folder / "few", provider, 10),
            f"{many:,} users and sessions": _peopled(folder / "many", provider, many),
            "1 key": _plain(folder / "one-key", first, folder / "keys"),
            "100 keys": _plain(folder / "many-keys", second, folder / "keys"),
        }
        with children.children(*sides.values()):
            for child in sides.values():
                child.ask("prepare")
            few, crowded, single, several = sides
            for name, number in ((few, 10), (crowded, many)):
                sides[name].ask("meet", count=min(number, 20_000))
            rows = [
                _beside(sides, case, pair, quick, found)
                for case, pair in (
                    ("ours: remembered", (few, crowded)),
                    ("ours: session", (few, crowded)),
                    ("ours: never seen RS256", (few, crowded)),
                    ("ours: remembered", (single, several)),
                    ("ours: never seen RS256", (single, several)),
                )
            ]
    print(table.markdown(("growth, µs, median", "few", "many", "ratio"), rows))


def _plain(folder: Path, provider: Provider, signing: Path) -> children.Child:
    settings = {"issuer": provider.issuer, "keys": str(signing)}
    return children.Child(
        "worker.py", children.home(folder), settings, **children.our_settings(provider.issuer)
    )


def _peopled(folder: Path, provider: Provider, count: int) -> children.Child:
    """A worker whose databases know so many users, identities and sessions from before."""
    made = folder.with_name(f"{folder.name}-made")
    child = _plain(made, provider, folder.parent / "keys")
    with children.children(child):
        child.ask("prepare", only=[])
    _people(made, provider.issuer, count)
    home = children.home(folder, template=made)
    settings = {"issuer": provider.issuer, "keys": str(folder.parent / "keys")}
    return children.Child("worker.py", home, settings, **children.our_settings(provider.issuer))


def _people(folder: Path, issuer: str, count: int) -> None:
    """Rows as a login leaves them, for as many people as there are to be."""
    now = int(time.time())
    with sqlite3.connect(folder / "basic_auth.db") as users:
        (top,) = users.execute("SELECT max(id) FROM users").fetchone()
        (template,) = users.execute(
            "SELECT password_hash FROM users WHERE username = ?", (keys.username(keys.SUBJECT),)
        ).fetchone()
        numbered = [(top + 1 + place, f"person-{place}") for place in range(count)]
        users.executemany(
            "INSERT INTO users (id, username, password_hash, is_admin) VALUES (?, ?, ?, 0)",
            ((number, keys.username(name), template) for number, name in numbered),
        )
    with sqlite3.connect(folder / "basic_auth.db-oidc") as ours:
        (groups,) = ours.execute("SELECT groups FROM oidc_identities").fetchone()
        ours.executemany(
            "INSERT INTO oidc_identities (issuer, subject, username, user_id, groups, told_at, made_here)"
            " VALUES (?, ?, ?, ?, ?, ?, 1)",
            ((issuer, name, keys.username(name), number, groups, now) for number, name in numbered),
        )
        ours.executemany(
            "INSERT INTO oidc_sessions (id_hash, issuer, subject, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?)",
            ((number.to_bytes(32, "big"), issuer, name, now, now + 36_000) for number, name in numbered),
        )


def _beside(
    sides: dict[str, children.Child], case: str, pair: tuple[str, str], quick: bool, found: Found
) -> tuple[str, ...]:
    samples: dict[str, list[int]] = {side: [] for side in pair}
    for _ in range(4 if quick else 30):
        for side in pair:
            samples[side] += sides[side].ask("round", case=case, count=60 if "never" in case else 300)
    few, many = (statistics.median(samples[side]) / 1000 for side in pair)
    what = f"{case.removeprefix('ours: ')}, {pair[0]} and {pair[1]}"
    found[f"growth: {case}: {'keys' if 'key' in pair[0] else 'users'}"] = many / few
    return (what, table.figure(few), table.figure(many), f"{many / few:.2f}")
