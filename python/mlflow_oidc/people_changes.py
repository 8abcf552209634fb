"""The changes of ``mlflow-oidc users``: link, unlink and sign out.

What a login would refuse (`may_take` in src/app/accounts.rs) is refused here too, unless it is said that it
is meant.
"""

import argparse
import sys
from typing import Any

from mlflow_oidc import tables
from mlflow_oidc._native import ROLE_PREFIX
from mlflow_oidc.asking import Database
from mlflow_oidc.people import HANDLE_LIMIT, Identity, People, Refused, User, is_valid
from mlflow_oidc.people_database import Place, opened
from mlflow_oidc.people_print import DONE, REFUSED, misused, names, printable
from mlflow_oidc.roles import Roles, missing


def link(options: argparse.Namespace, place: Place) -> int:
    """Binds an MLflow user to a subject. The exit status; raises ``Refused``."""
    read, _ = place.read()
    issuer = options.issuer or (read and read["issuer"])
    if not issuer:
        raise Refused(
            "expected the issuer in OIDC_ISSUER_URL or by --issuer, found none that can be used "
            "(mlflow-oidc doctor says what is wrong with the settings)"
        )
    for name in (options.user, options.subject, issuer):
        # The server counts a subject in bytes, the tables count characters.
        if not name or len(name.encode()) > tables.NAME_LIMIT or not tables.fits(name):
            return misused(f"a user, a subject and an issuer have 1 to {tables.NAME_LIMIT} characters")
    with opened(place) as people:
        user = _to_be_linked(people, place, options)
        # No login takes the flag of such an account away, so each has to bring the proof.
        proven = options.administrator and (user is None or not user.is_ours or is_bootstrap(place, user))
        if proven and read is not None and not read["admin_groups"]:
            raise Refused(
                f"there is no admin group in the settings (OIDC_ADMIN_GROUP), so no login would be let in as "
                f"the administrator {options.user!r}"
            )
        old = people.bound_to(options.user)
        if _is_bound(people, user, old, issuer, options):
            print(printable(f"{options.user} is bound to the subject {options.subject} already"))
            return DONE
    with opened(place, writes=True) as people:
        user = user or people.make(options.user)
        wanted = Identity(issuer, options.subject, user.username, user.id, None, 0, user.is_ours)
        taken = _take_roles(people, place, old, user)
        people.link(wanted, old)
        taken += _take_roles(people, place, old, user)
    print(printable(f"Linked {user.username} to the subject {options.subject} of {issuer}."))
    if taken:
        print(_taken(taken))
    print("Whoever signs in as that subject has this account and all its grants.")
    if proven:
        told = names(read["admin_groups"]) if read and read["admin_groups"] else "the admin group"
        print(
            printable(
                f"They get in as a member of {told} only; no login takes the flag of this account away."
            )
        )
    if read and issuer != read["issuer"]:
        print(printable(f"Note: the server here believes {read['issuer']} alone."))
    return DONE


def is_bootstrap(place: Place, user: User) -> bool:
    """Whether a user is the administrator whom MLflow itself makes."""
    return user.username == place.administrator


def _to_be_linked(people: People, place: Place, options: argparse.Namespace) -> User | None:
    """``None`` for one who is still to be made."""
    user = people.user(options.user)
    if user is None and not options.make:
        raise Refused(f"there is no MLflow user {options.user!r}; --make makes one, as a first login would")
    protected = options.user == place.administrator or (user is not None and user.is_admin)
    if protected is not options.administrator:
        raise Refused(
            f"{options.user!r} is no administrator of MLflow; leave --administrator out"
            if options.administrator
            else f"{options.user!r} is an administrator of MLflow; say --administrator if the subject "
            f"{options.subject!r} is to be one"
        )
    return user


def _is_bound(
    people: People, user: User | None, old: Identity | None, issuer: str, options: argparse.Namespace
) -> bool:
    """Whether nothing is left to do; ``Refused`` where somebody else has the user or the subject."""
    of_subject = people.of_subject(options.subject, issuer)
    if old is not None and of_subject == [old] and is_valid(old, user):
        return True
    others = [other.username for other in of_subject if other.username != options.user]
    if others:
        raise Refused(f"the subject {options.subject!r} is bound to {others[0]!r}; unlink that first")
    if old is not None and not options.replace:
        raise Refused(
            f"{options.user!r} is bound to the subject {old.subject!r} of {old.issuer}; "
            "--replace takes it from there with the roles that groups gave, and ends the sessions"
        )
    return False


def unlink(options: argparse.Namespace, place: Place) -> int:
    """Takes a binding away, after a question. The exit status; raises ``Refused``."""
    with opened(place, changes=True) as people:
        user = people.user(options.user)
        if user is not None and people.bound_to(user.username) is None and _roles_left(people, place, user):
            return _finish(people, place, user, options)
        identity = bound(people, options.user)
        read, _ = place.read()
        by_rule = bool(read and read["link_existing_users"])
        if not options.yes and (stop := _asked(_consequence(identity, user, by_rule))) is not None:
            return stop
        taken = _take_roles(people, place, identity, user)
        if not people.unlink(identity):
            raise Refused("somebody else has unlinked it in this moment")
        taken += _take_roles(people, place, identity, user)
    print(
        printable(f"Unlinked {identity.username} from the subject {identity.subject} of {identity.issuer}.")
    )
    ended = f"{_ended(identity.sessions)} {_soon(read)} {_taken(taken)}"
    print(f"{ended} All else that they had in MLflow is as it was.")
    if identity.made_here and user is not None and not user.is_ours:
        print("The account was given a password; with it they get in, where OIDC_BASIC_AUTH is on.")
    return DONE


def _finish(people: People, place: Place, user: User, options: argparse.Namespace) -> int:
    """Takes what groups gave to an account that is bound to nobody any more: an unlink was cut off."""
    left = len(_roles_left(people, place, user))
    question = f"{user.username} is bound to no identity, and has roles still that groups gave: {left}. Take?"
    if not options.yes and (stop := _asked(question)) is not None:
        return stop
    print(printable(f"{user.username} is bound to no identity. {_taken(_take(people, place, user))}"))
    return DONE


def _take_roles(people: People, place: Place, identity: Identity | None, user: User | None) -> int:
    """Takes what groups gave: nobody follows the groups of an account that is bound to nobody. How many.

    Before the binding goes, so that a fault leaves all as it was, and again afterwards: the rows may be in
    two files, and as long as the binding is there a request gives the roles again.
    """
    is_theirs = identity is not None and user is not None and user.id == identity.user_id
    return _take(people, place, user) if is_theirs and user is not None else 0


def _take(people: People, place: Place, user: User) -> int:
    theirs = _roles_left(people, place, user)
    changes = [("unassign", workspace, name, "", "", "", user.id) for workspace, name in theirs]
    Roles(Database(people.mlflow)).change(changes)
    return len(theirs)


def _roles_left(people: People, place: Place, user: User) -> list[tuple[str, str]]:
    if missing(people.mlflow, place.patient.mlflow_version or ""):
        return []
    return Roles(Database(people.mlflow)).of_user(ROLE_PREFIX, user.id)


def _taken(count: int) -> str:
    return f"Roles that groups gave and that are taken away: {count}."


def _consequence(identity: Identity, user: User | None, by_rule: bool) -> str:
    name = identity.username
    begin = f"Unlink {name} from the subject {identity.subject} of {identity.issuer}? The sessions end"
    if user is None:
        return f"{begin}; MLflow has no such user (any more)."
    if user.is_ours or (by_rule and not user.is_admin):
        flag = (
            " The administrator's flag, which it has now, stays only if that one is in the admin group."
            if user.is_admin
            else ""
        )
        return (
            f"{begin}; the account keeps its grants, and the next subject that the provider calls {name} "
            f"gets it with all of them: be it a new one of the same person, be it somebody else.{flag}"
        )
    return (
        f"{begin}; the account keeps its grants and password, and no login gets it until it is linked again."
    )


def _asked(question: str) -> int | None:
    """``None`` for a yes, else the exit status."""
    if not sys.stdin.isatty():
        return misused(f"{question} Say --yes where nobody can be asked.")
    try:
        answer = input(f"{printable(question)} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return None
    print("Nothing was changed.", file=sys.stderr)
    return REFUSED


def sign_out(options: argparse.Namespace, place: Place) -> int:
    """Ends sessions. The exit status; raises ``Refused``."""
    handle = options.session
    if handle is not None and not (
        HANDLE_LIMIT <= len(handle) <= 64 and set(handle.lower()) <= set("0123456789abcdef")
    ):
        return misused(f"a session is named by {HANDLE_LIMIT} to 64 hexadecimal digits")
    read, _ = place.read()
    with opened(place, changes=True) as people:
        if handle is not None:
            session = people.end_session(handle.lower())
            print(printable(f"Ended the session {session.handle} of {session.username or 'nobody'}."))
        else:
            identity = None if options.all else bound(people, options.user)
            count = people.sign_out(identity)
            if not count:
                raise Refused("there is no session to end")
            print(_ended(count))
    print(_soon(read))
    print("Bearer tokens are the provider's: one that they hold is good until it expires.")
    return DONE


def _ended(count: int) -> str:
    return f"{count} {'session has' if count == 1 else 'sessions have'} ended."


def _soon(read: dict[str, Any] | None) -> str:
    seconds = f"{read['session_cache']} s" if read else "the seconds of OIDC_SESSION_CACHE_SECONDS"
    return f"Every worker knows within {seconds}."


def bound(people: People, username: str) -> Identity:
    """The identity of a user name; raises ``Refused`` where there is none."""
    identity = people.bound_to(username)
    if identity is None:
        told = (
            "is bound to no identity"
            if people.user(username)
            else "is not known, neither to MLflow nor to us"
        )
        raise Refused(f"{username!r} {told}; mlflow-oidc users list --all shows who is")
    return identity
