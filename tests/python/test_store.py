"""What every store must do: one suite for SQLite by rusqlite, and for all others through SQLAlchemy."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from mlflow_oidc._native import Store
from mlflow_oidc.asking import Database
from mlflow_oidc.people import People
from mlflow_oidc.store import Store as PythonStore
from mlflow_oidc.tables import NAME_LIMIT
from support.stores import NAMES, Opener, at_once, identity, session


@pytest.fixture(params=NAMES)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    made = Opener(request.param, tmp_path)
    yield made
    made.close()


def test_tables_are_made_by_whoever_comes_first_and_by_many_at_once(opener: Opener) -> None:
    assert opener.together(12, lambda _, store: store.prepare()) == [None] * 12
    store = opener.open()
    alice = identity("i", "alice", "alice")
    store.bind(alice)
    store.prepare()
    store.prepare()
    assert store.identity("i", "alice") == alice, "nothing is lost by preparing again"


GROUPS = [None, [], ["MLFLOW", 'ü "quoted" \',; [] {}', "\n\U0001f600"]]


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_an_identity_is_read_back_as_it_was_bound(opener: Opener, number: int) -> None:
    store = opener.ready()
    known = {"user_id": number, "told_at": 1_800_000_000 + number, "made_here": number % 2 == 0}
    row = identity("https://idp.example", "subject", "user", groups=GROUPS[number], **known)
    assert store.bind(row) == row
    for each in (store, opener.open()):
        assert each.identity("https://idp.example", "subject") == row
        assert each.identity_of_user("user") == row
        assert at_once(each.identity, "https://idp.example", "subject") == row
        assert at_once(each.identity_of_user, "user") == row


def test_ten_thousand_groups_and_the_longest_tokens_are_read_back(opener: Opener) -> None:
    store = opener.ready()
    groups = [f"a-group-with-a-long-name-ü-{number}" for number in range(10_000)]
    row = identity("i", "alice", "alice", groups=groups)
    assert store.bind(row) == row
    token = "x" * 100_000
    kept = session(1, 100, 200, id=token, refresh=token)
    store.add_session(kept)
    assert opener.open().session(bytes([1] * 32)) == (kept, row)


def test_nobody_is_found_by_half_of_the_name(opener: Opener) -> None:
    store = opener.ready()
    store.bind(identity("issuer", "subject", "alice"))
    names = [("issuer", "other"), ("other", "subject"), ("", "subject"), ("issuer", "")]
    names += [("ISSUER", "subject"), ("issuer", "subject "), ("issuer", "sübject"), ("issuer", "Subject")]
    for issuer, subject in names:
        assert store.identity(issuer, subject) is None, (issuer, subject)
    for username in ["", "Alice", "alice ", "älice", "%", "a%", "alice\0"]:
        assert store.identity_of_user(username) is None, username


ALIKE = ["alice", "Alice", "ALICE", "alice ", "alice  ", "älice", "alicé", "ａlice", "alice\u200b", "ss", "ß"]


def test_names_that_look_alike_are_different_people(opener: Opener) -> None:
    store = opener.ready()
    rows = [identity("i", name, name, user_id=number) for number, name in enumerate(ALIKE)]
    assert [store.bind(row) for row in rows] == rows
    for number, name in enumerate(ALIKE):
        store.add_session(session(number, 100, 200, subject=name, sid=name))
    for row in rows:
        assert store.identity("i", row[1]) == row
        assert store.identity_of_user(row[2]) == row
    for number, name in enumerate(ALIKE):
        found = store.session(bytes([number] * 32))
        assert found is not None
        assert found[1] == rows[number]
        ended = store.remove_ended("i", name, name) if number % 2 else store.remove_ended("i", None, name)
        assert ended == 1, name


def test_the_longest_names_fit_and_a_longer_one_is_never_cut(opener: Opener) -> None:
    if opener.name == "rusqlite":
        pytest.skip("SQLite's own file has room for any name")
    store = opener.ready()
    longest = "\U0001f600" * NAME_LIMIT
    row = identity(longest, longest, longest)
    assert store.bind(row) == row
    kept = session(1, 100, 200, issuer=longest, subject=longest, sid=longest)
    store.add_session(kept)
    assert store.session(bytes([1] * 32)) == (kept, row)
    for place in range(3):
        names = ["i", "s", "u"]
        names[place] = longest + "x"
        with pytest.raises(RuntimeError, match="a name of 256 characters; at most 255 fit"):
            store.bind(identity(*names))
    for names in ({"issuer": longest + "x"}, {"subject": longest + "x"}, {"sid": longest + "x"}):
        with pytest.raises(RuntimeError, match="a name of 256 characters; at most 255 fit"):
            store.add_session(session(2, 100, 200, **names))
    assert store.identity(longest, longest + "x") is None
    assert store.identity_of_user(longest + "x") is None
    assert store.remove_ended(longest, None, longest + "x") == 0
    assert store.session(bytes([1] * 32)) == (kept, row)


def test_a_subject_is_bound_once(opener: Opener) -> None:
    store = opener.ready()
    first = identity("i", "alice", "alice")
    store.bind(first)
    second = identity("i", "alice", "alice-married", groups=None, made_here=False)
    assert store.bind(second) == first, "the first row counts"
    assert store.identity_of_user("alice-married") is None


def test_a_name_belongs_to_one_subject(opener: Opener) -> None:
    store = opener.ready()
    first = identity("i", "1", "alice")
    store.bind(first)
    assert store.bind(identity("i", "2", "alice")) is None
    assert store.bind(identity("other", "1", "alice")) is None
    assert store.identity("i", "2") is None, "nothing is left of the loser"
    assert store.identity_of_user("alice") == first
    assert store.bind(identity("i", "2", "Alice")) == identity("i", "2", "Alice")


def test_a_race_for_one_name_has_one_winner(opener: Opener) -> None:
    opener.ready()
    results = opener.together(16, lambda number, store: store.bind(identity("i", str(number), "alice")))
    winners = [result for result in results if result is not None]
    assert len(winners) == 1, winners
    assert opener.open().identity_of_user("alice") == winners[0]


def test_a_race_of_one_subject_has_one_row_and_no_loser(opener: Opener) -> None:
    opener.ready()
    results = opener.together(16, lambda number, store: store.bind(identity("i", "alice", f"alice{number}")))
    assert results == [results[0]] * 16
    assert results[0] == opener.open().identity("i", "alice")


def test_what_may_change_is_noted_and_the_name_is_not(opener: Opener) -> None:
    store = opener.ready()
    bob = identity("i", "bob", "bob")
    store.bind(identity("i", "alice", "alice"))
    store.bind(bob)
    changed = {"groups": None, "user_id": 77, "told_at": 78, "made_here": False}
    store.note(identity("i", "alice", "somebody-else", **changed))
    assert store.identity("i", "alice") == identity("i", "alice", "alice", **changed)
    assert store.identity("i", "bob") == bob, "nobody else is touched"
    store.note(identity("i", "nobody", "nobody"))
    assert store.identity("i", "nobody") is None, "nobody is made by a note"


def test_an_older_statement_is_not_noted_over_a_newer_one(opener: Opener) -> None:
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    store.note(identity("i", "alice", "alice", groups=["newest"], told_at=78))
    store.note(identity("i", "alice", "alice", user_id=77, told_at=77))
    newest = identity("i", "alice", "alice", groups=["newest"], told_at=78, user_id=77)
    assert store.identity("i", "alice") == newest


def test_of_many_statements_at_once_the_newest_stands(opener: Opener) -> None:
    opener.ready().bind(identity("i", "alice", "alice"))
    rows = [identity("i", "alice", "alice", groups=[str(time)], told_at=time) for time in range(1, 13)]
    assert opener.together(12, lambda number, store: store.note(rows[number])) == [None] * 12
    assert opener.open().identity("i", "alice") == rows[-1]


def test_a_session_is_added_read_and_removed_once(opener: Opener) -> None:
    store = opener.ready()
    alice = identity("i", "alice", "alice")
    store.bind(alice)
    row = session(1, 100, 200, sid="sid", id="sealed", refresh="sealed too")
    store.add_session(row)
    other = opener.open()
    for each in (store, other):
        assert each.session(row[0]) == (row, alice)
        assert at_once(each.session, row[0]) == (row, alice)
    assert store.session(bytes([2] * 32)) is None
    assert store.remove_session(bytes([2] * 32)) is None
    assert store.remove_session(row[0]) == row
    assert store.remove_session(row[0]) is None
    for each in (store, other):
        assert each.session(row[0]) is None
        assert at_once(each.session, row[0]) is None, "not the row that was read before"


def test_what_the_provider_said_of_a_session_is_noted_and_nothing_else(opener: Opener) -> None:
    store = opener.ready()
    alice = identity("i", "alice", "alice")
    store.bind(alice)
    store.add_session(session(1, 100, 200))
    store.add_session(session(2, 100, 200))
    told = {"sid": "sid", "checked_at": 150, "id": "id", "refresh": "refresh"}
    assert store.renew_session(session(1, 1, 999, subject="bob", **told), 0, 0)
    assert store.renew_session(session(1, 1, 999, subject="bob", **told), 0, 0), "the same again"
    assert opener.open().session(bytes([1] * 32)) == (session(1, 100, 200, **told), alice)
    assert store.session(bytes([2] * 32)) == (session(2, 100, 200), alice)
    store.remove_session(bytes([1] * 32))
    assert not store.renew_session(session(1, 100, 200), 0, 0), "what is over stays over"
    assert store.session(bytes([1] * 32)) is None


def test_one_of_many_may_ask_the_provider_about_a_session(opener: Opener) -> None:
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    store.add_session(session(1, 100, 200))

    def took(now: int, until: int) -> int:
        results = opener.together(12, lambda _, store: store.begin_recheck(bytes([1] * 32), now, until))
        assert all(isinstance(result, bool) for result in results), results
        return results.count(True)

    assert took(150, 160) == 1
    assert took(159, 169) == 0, "whoever asks has until then"
    assert took(160, 170) == 1, "whoever asked has died"
    before = store.session(bytes([1] * 32))
    for held in (160, 0, 171):
        late = session(1, 100, 200, checked_at=150, refresh="older")
        assert not store.renew_session(late, held, 0), "another one has asked since"
    assert store.session(bytes([1] * 32)) == before, "and theirs stands"
    assert took(169, 179) == 0, "they still have the right"
    assert store.renew_session(session(1, 100, 200, refresh="new"), 170, 170)
    assert took(169, 179) == 0, "it was kept"
    assert store.renew_session(session(1, 100, 200, refresh="new"), 170, 0)
    assert took(161, 171) == 1, "the answer has come"
    assert not store.begin_recheck(bytes([2] * 32), 150, 160), "there is no such session"


def test_whoever_waited_for_the_right_to_ask_does_not_take_it_for_theirs(opener: Opener) -> None:
    """Two workers in the same second: a refresh token sent twice ends the session at a provider that rotates.

    With serializable transactions the second one meets a conflict and tries again.
    """
    if opener.name == "rusqlite":
        pytest.skip("within one process the locks of Python's SQLite do not hold ours up")
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    store.add_session(session(1, 100, 200))
    other, got = opener.open(), []
    waits = threading.Thread(target=lambda: got.append(other.begin_recheck(bytes([1] * 32), 150, 160)))
    with opener.database().engine.begin() as first:
        first.execute(sqlalchemy.text("UPDATE oidc_sessions SET recheck_until = 160"))
        waits.start()
        # Long enough to have begun its transaction, and to wait for the row.
        waits.join(1)
        assert waits.is_alive()
    waits.join(30)
    assert got == [False]


def test_the_provider_ends_sessions_by_its_own_names(opener: Opener) -> None:
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    store.bind(identity("i", "bob", "bob"))
    store.bind(identity("other", "alice", "alice of another provider"))
    rows = {
        1: ("i", "alice", "desk"),
        2: ("i", "alice", None),
        3: ("i", "bob", "bobs"),
        4: ("i", "bob", None),
        5: ("other", "alice", "desk"),
        6: ("i", "alice", "phone"),
    }
    cases = [
        ("alice", "desk", [1, 2]),
        (None, "desk", [1]),
        ("alice", None, [1, 2, 6]),
        ("bob", "desk", [1, 4]),
        ("nobody", "nothing", []),
        (None, "", []),
        ("", None, []),
        (None, None, []),
    ]
    for subject, provider_sid, ended in cases:
        for name, (issuer, whose, sid) in rows.items():
            store.remove_session(bytes([name] * 32))
            store.add_session(session(name, 0, 100, issuer=issuer, subject=whose, sid=sid))
        count = store.remove_ended("i", subject, provider_sid)
        gone = [name for name in rows if store.session(bytes([name] * 32)) is None]
        assert (count, gone) == (len(ended), ended), (subject, provider_sid)


def test_a_session_is_removed_by_one_of_many(opener: Opener) -> None:
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    store.add_session(session(1, 100, 200))
    removed = opener.together(12, lambda _, store: store.remove_session(bytes([1] * 32)))
    assert sorted(removed, key=str) == sorted([None] * 11 + [session(1, 100, 200)], key=str)


def test_a_session_of_nobody_is_none(opener: Opener) -> None:
    store = opener.ready()
    store.add_session(session(1, 100, 200))
    assert store.session(bytes([1] * 32)) is None


def test_one_name_is_one_session(opener: Opener) -> None:
    store = opener.ready()
    store.add_session(session(1, 100, 200))
    with pytest.raises(RuntimeError):
        store.add_session(session(1, 100, 300))
    assert store.remove_session(bytes([1] * 32)) == session(1, 100, 200)


def test_a_new_session_sweeps_out_those_that_have_expired(opener: Opener) -> None:
    store = opener.ready()
    for name, expires_at in [(1, 199), (2, 200), (3, 201)]:
        store.add_session(session(name, 100, expires_at))
    store.add_session(session(4, 200, 300))
    left = [name for name in range(1, 5) if store.remove_session(bytes([name] * 32)) is not None]
    assert left == [3, 4]


def test_many_sessions_at_once_are_all_there(opener: Opener) -> None:
    """Each sweeps the expired ones of the others, which is where InnoDB's locks of gaps would meet."""
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    for name in range(100, 130):
        store.add_session(session(name, 0, 50 + name % 3))

    def add(number: int, store: Store) -> None:
        store.add_session(session(number, 100 + number, 200 + number))

    assert opener.together(16, add) == [None] * 16
    assert all(at_once(store.session, bytes([name] * 32)) is not None for name in range(16))
    assert all(store.session(bytes([name] * 32)) is None for name in range(100, 130))


@pytest.mark.parametrize(
    "name",
    ["'; DROP TABLE oidc_identities; --", 'a"b', "a`b", "\\", "%_", "ä\U0001f600", "?1", ":x", "%(x)s"],
)
def test_whatever_is_written_in_a_name_stays_a_name(opener: Opener, name: str) -> None:
    store = opener.ready()
    row = identity(name, name, name, groups=[name])
    assert store.bind(row) == row
    assert store.identity(name, name) == row


def test_a_database_of_an_older_version_gets_the_columns_that_it_lacks(opener: Opener) -> None:
    store = opener.ready()
    alice = identity("i", "alice", "alice")
    store.bind(alice)
    store.add_session(session(1, 100, 200, id="sealed"))
    added = ["checked_at", "recheck_until", "sealed_refresh_token"]
    opener.execute(*(f"ALTER TABLE oidc_sessions DROP COLUMN {column}" for column in added))
    assert opener.together(8, lambda _, store: store.prepare()) == [None] * 8
    row = session(1, 100, 200, id="sealed", checked_at=0)
    assert opener.open().session(bytes([1] * 32)) == (row, alice)
    assert opener.open().begin_recheck(bytes([1] * 32), 1, 2)


@pytest.mark.parametrize(
    "text",
    ["", "MLFLOW_admin", "{}", '{"MLFLOW_admin": 1}', "[1]", '["MLFLOW_admin"', "null", '"MLFLOW_admin"'],
)
def test_groups_that_cannot_be_read_count_as_not_told(opener: Opener, text: str) -> None:
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    quote = "`" if "mariadb" in opener.name else '"'
    # A colon would begin the name of a parameter.
    written = text.replace(":", "\\:")
    opener.execute(f"UPDATE oidc_identities SET {quote}groups{quote} = '{written}'")
    assert store.identity("i", "alice") == identity("i", "alice", "alice", groups=None), "opens no door"
    engine = opener.database().engine
    told = People(engine, engine).bound_to("alice")
    assert told is not None
    assert told.groups is None, "nor does mlflow-oidc users say otherwise"


def test_rows_that_come_and_go_leave_no_error(opener: Opener) -> None:
    """Binding and unbinding, adding and ending, all at once: nobody meets a deadlock or a stale row."""
    opener.ready()

    def busy(number: int, store: Store) -> None:
        for step in itertools.islice(itertools.cycle(range(4)), 24):
            store.bind(identity("i", f"s{step}", f"u{step}"))
            store.note(identity("i", f"s{step}", "", told_at=number))
            name = bytes([number * 16 + step] * 32)
            store.add_session((name, "i", f"s{step}", None, 100, 200, 100, None, None))
            store.remove_ended("i", f"s{step}", None)

    assert opener.together(8, busy) == [None] * 8


class CutOff(Database):
    """Loses every connection after the work was committed: then it is done once more."""

    def run(self, work: Callable[[Any], Any], after_loss: Callable[[Any], Any] | None = None) -> Any:
        super().run(work)
        return super().run(after_loss or work)


class CutOffBefore(Database):
    """Has lost every connection before the work was begun."""

    def run(self, work: Callable[[Any], Any], after_loss: Callable[[Any], Any] | None = None) -> Any:
        return super().run(after_loss or work)


def test_what_was_done_by_a_connection_that_is_lost_then_is_told(opener: Opener) -> None:
    if opener.name == "rusqlite":
        pytest.skip("no connection to lose")
    store = opener.ready()
    store.bind(identity("i", "alice", "alice"))
    kept = session(1, 100, 200)
    store.add_session(kept)
    cut_off = PythonStore(CutOff(opener.database().engine))
    cut_off.add_session(session(2, 100, 200))
    assert cut_off.begin_recheck(kept[0], 110, 120)
    assert not cut_off.begin_recheck(kept[0], 111, 121), "somebody asks"
    kept = session(1, 100, 200, refresh="new")
    assert cut_off.renew_session(kept, 120, 130)
    assert cut_off.renew_session(kept, 130, 0)
    assert not cut_off.renew_session(kept, 130, 0), "the right was given back"
    assert cut_off.remove_session(kept[0]) == kept
    assert cut_off.remove_session(kept[0]) is None
    store.add_session(kept)
    assert store.begin_recheck(kept[0], 110, 120)
    late = PythonStore(CutOffBefore(opener.database().engine))
    assert not late.begin_recheck(kept[0], 110, 120), "the same second, and another's"
    assert late.begin_recheck(kept[0], 120, 130), "now it is free"
    assert store.renew_session(kept, 130, 0)
    assert not late.renew_session(kept, 130, 0), "the very same, and another's"
    assert late.remove_session(kept[0]) == kept
    assert late.remove_session(kept[0]) is None
