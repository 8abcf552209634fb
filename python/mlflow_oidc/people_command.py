"""``mlflow-oidc users``: what an administrator asks, in words and in JSON.

The changes are in `people_changes`.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlflow_oidc import people_changes, people_rights
from mlflow_oidc.doctor import Patient
from mlflow_oidc.people import Identity, People, Refused, Session, User, is_valid
from mlflow_oidc.people_changes import bound
from mlflow_oidc.people_database import Place, opened
from mlflow_oidc.people_print import DONE, REFUSED, columns, date, misused, names, objects, printable, time

_NOBODY = "nobody has signed in here yet"


def run(options: argparse.Namespace) -> int:
    """Runs one of the commands; what it returns is the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal may have fewer letters than a group's name.
            stream.reconfigure(errors="backslashreplace")
    if any(isinstance(value, str) and not _is_text(value) for value in vars(options).values()):
        return misused("a name is no text in UTF-8")
    try:
        return _COMMANDS[options.what](options, Place(Patient()))
    except Refused as fault:
        print(f"mlflow-oidc users {options.what}: {printable(str(fault))}", file=sys.stderr)
        return REFUSED


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(options: argparse.Namespace, place: Place) -> int:
    with opened(place) as people:
        issuers = people.issuers()
        found = _listed(people, options)
        if options.json:
            return objects(found)
        head = ["USER", "ADMIN", "ACCOUNT", "GROUPS", "TOLD", "SESSIONS", "SUBJECT"]
        if len(issuers) > 1:
            head.append("ISSUER")
        rows = (_line(each, len(issuers) > 1) for each in found)
        if not columns(head, rows):
            told = f"nobody is a member of {options.group!r}" if options.group is not None else _NOBODY
            raise Refused(told)
        if len(issuers) == 1:
            print(f"\nSubjects are those of {printable(issuers[0])}.")
    return DONE


def _listed(people: People, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for page in people.pages():
        for identity, user in page:
            if options.group is None or options.group in (identity.groups or ()):
                yield _described(identity.username, identity, user)
    if options.all and options.group is None:
        for local in people.local_pages():
            yield from (_described(user.username, None, user) for user in local)


def _described(username: str, identity: Identity | None, user: User | None) -> dict[str, Any]:
    """One person as JSON has them."""
    return {
        "username": username,
        "user_id": user.id if user else None,
        "is_admin": user.is_admin if user else None,
        "account": _account(identity, user),
        "password": not user.is_ours if user else None,
        "issuer": identity.issuer if identity else None,
        "subject": identity.subject if identity else None,
        "groups": identity.groups if identity else None,
        "told_at": (identity.told_at or None) if identity else None,
        "sessions": identity.sessions if identity else 0,
    }


def _account(identity: Identity | None, user: User | None) -> str:
    if identity is None:
        return "without identity" if user is not None and user.is_ours else "local"
    if user is None:
        return "gone"
    if not is_valid(identity, user):
        return "another's"
    return "made here" if identity.made_here else "linked"


def _line(each: dict[str, Any], with_issuer: bool) -> list[str]:
    groups = each["groups"]
    line = [
        each["username"],
        {True: "yes", False: "no", None: "-"}[each["is_admin"]],
        each["account"],
        "-" if groups is None else str(len(groups)),
        date(each["told_at"]),
        str(each["sessions"]),
        each["subject"] or "-",
    ]
    return [*line, each["issuer"] or "-"] if with_issuer else line


def _show(options: argparse.Namespace, place: Place) -> int:
    with opened(place) as people:
        identity, user = _found(people, options)
        read, (judged,) = place.read(identity.groups if identity else None)
        rights = people_rights.of_user(people.mlflow, user.id, place.patient.mlflow_release) if user else None
        sessions = people.sessions_of(identity.username) if identity else []
    told = _described(identity.username if identity else options.user, identity, user)
    told["admin_because"] = _why(place, identity, user, judged)
    told["may_come_in"] = None
    if identity and judged:
        told["may_come_in"] = judged["admitted"] and not _is_shut(place, identity, user, judged)
    told["roles"] = rights and rights.roles and [_role(role) for role in rights.roles]
    told["grants"] = rights and [grant._asdict() for grant in rights.grants]
    told["sessions"] = [_session(session) for session in sessions]
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(_told(told, read)))
    return DONE


def _found(people: People, options: argparse.Namespace) -> tuple[Identity | None, User | None]:
    if not options.subject:
        identity, user = people.bound_to(options.user), people.user(options.user)
        if identity is None and user is None:
            raise Refused(f"there is no MLflow user {options.user!r}, and no identity with the name")
        return identity, user
    found = people.of_subject(options.user)
    if len(found) != 1:
        told = "several issuers have" if found else "no identity has"
        raise Refused(f"{told} the subject {options.user!r}; mlflow-oidc users list shows all")
    return found[0], people.user(found[0].username)


def _why(
    place: Place, identity: Identity | None, user: User | None, judged: dict[str, Any] | None
) -> str | None:
    """Why somebody is an administrator, or is not."""
    if user is None:
        return None
    if user.username == place.administrator:
        return "the administrator whom MLflow makes (admin_username)"
    if identity is None:
        return "set in MLflow"
    if judged is None:
        return "not known here: the settings have a fault (mlflow-oidc doctor)"
    wanted = judged["admin"]
    if wanted is None and _is_shut(place, identity, user, judged):
        return (
            "set in MLflow, and no token has told of an admin group: a login is refused (account_protected)"
        )
    if wanted is None:
        why = "there is no admin group, or no token has told any groups"
        return f"set in MLflow: {why}" if user.is_admin else why
    if wanted == user.is_admin:
        return f"{'' if wanted else 'not '}in an admin group"
    if wanted:
        return "in an admin group: their next request makes it so"
    if identity.made_here:
        return "set in MLflow, not in an admin group: their next request takes it back"
    return "set in MLflow, not in an admin group: a login is refused (account_protected)"


def _is_shut(place: Place, identity: Identity, user: User | None, judged: dict[str, Any]) -> bool:
    """Whether this is an administrator whom no login may demote, without proof of the admin group
    (``check_flag`` in src/app/accounts.rs).
    """
    if user is None or not user.is_admin or judged["admin"] is True:
        return False
    return not identity.made_here or people_changes.is_bootstrap(place, user)


def _role(role: people_rights.Role) -> dict[str, Any]:
    return {**role._asdict(), "grants": [grant._asdict() for grant in role.grants]}


def _session(session: Session) -> dict[str, Any]:
    return dict(vars(session))


def _told(told: dict[str, Any], read: dict[str, Any] | None) -> Iterator[str]:
    """A person in lines."""
    passwords = {
        None: "-",
        True: "of its own",
        False: "none: a login made the account, and nobody gave it one",
    }
    come_in = {
        None: "-",
        True: "yes",
        False: f"no: not in {names((read or {}).get('user_groups') or [])}, as far as is known",
    }
    account = {
        "local": "local: bound to no identity",
        "without identity": "made by a login, and unlinked: the next login with the name gets it",
        "gone": "MLflow has no such user any more: the next login makes it anew, without grants",
        "another's": "MLflow's user of that name is another one than it was bound to",
    }
    groups = told["groups"]
    yield from _pairs(
        ("user", told["username"]),
        ("number in MLflow", "-" if told["user_id"] is None else str(told["user_id"])),
        ("account", account.get(told["account"], told["account"])),
        ("administrator", _yes(told["is_admin"], told["admin_because"])),
        ("password", passwords[told["password"]]),
        ("issuer", told["issuer"] or "-"),
        ("subject", told["subject"] or "-"),
        ("may come in", come_in[told["may_come_in"]]),
        ("told", time(told["told_at"])),
        ("groups", "-" if groups is None else f"{len(groups)}: {names(groups)}" if groups else "0"),
    )
    if told["roles"] is None and told["user_id"] is not None:
        yield "roles: MLflow has them since 3.12"
    for title, held in [
        *((f"role {role['name']} in {role['workspace']}", role["grants"]) for role in told["roles"] or []),
        ("grants of their own", told["grants"] or []),
    ]:
        yield printable(f"{title}: {len(held)}")
        yield from (printable(f"    {g['kind']} {g['pattern']} {g['permission']}") for g in held)
    yield f"sessions: {len(told['sessions'])}"
    yield from (
        f"    {s['handle']}  {time(s['created_at'])} to {time(s['expires_at'])}" for s in told["sessions"]
    )


def _pairs(*pairs: tuple[str, str]) -> Iterator[str]:
    yield from (f"{f'{name}:':<18}{printable(value)}" for name, value in pairs)


def _yes(flag: bool | None, because: str | None) -> str:
    return "-" if flag is None else f"{'yes' if flag else 'no'} ({because})"


def _sessions(options: argparse.Namespace, place: Place) -> int:
    with opened(place) as people:
        if options.user is not None:
            bound(people, options.user)
            pages: Iterable[list[Session]] = [people.sessions_of(options.user)]
        else:
            pages = people.session_pages()
        found = (session for page in pages for session in page)
        if options.json:
            return objects(_session(session) for session in found)
        head = ["SESSION", "USER", "MADE", "ENDS", "CHECKED"]
        rows = ([s.handle, s.username, *map(time, (s.created_at, s.expires_at, s.checked_at))] for s in found)
        if not columns(head, rows):
            raise Refused("nobody is signed in" if options.user is None else "there is no session")
    return DONE


_COMMANDS: dict[str, Callable[[argparse.Namespace, Place], int]] = {
    "list": _list,
    "show": _show,
    "link": people_changes.link,
    "unlink": people_changes.unlink,
    "sessions": _sessions,
    "sign-out": people_changes.sign_out,
}
