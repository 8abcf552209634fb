"""``mlflow-oidc roles``: how MLflow's roles differ from ``[oidc:roles]``, and making them agree.

What is there is read here and what is to be done is written here; the native module says what that is.
"""

import argparse
import io
import json
import sys
from typing import Any, NamedTuple

from mlflow_oidc import _native
from mlflow_oidc.asking import Database, Unanswered
from mlflow_oidc.doctor import Patient, _printable
from mlflow_oidc.people import People, Refused
from mlflow_oidc.people_database import Place, opened
from mlflow_oidc.read_only import is_usable, plain_file
from mlflow_oidc.roles import Change, Roles, missing

DONE, REFUSED, CHANGES, MISUSED = 0, 1, 2, 2

# How often it is looked again after a change: people sign in meanwhile, and have other groups then.
_AGAIN = 3

_SIGNS = {
    "create": "+",
    "grant": "+",
    "assign": "+",
    "describe": "~",
    "revoke": "-",
    "delete": "-",
    "unassign": "-",
}


class Planned(NamedTuple):
    """One change, with what it takes the place of (or the name of the user), and why it is made."""

    change: Change
    before: str
    why: str

    @property
    def sign(self) -> str:
        """As in a diff."""
        return "~" if self.change[0] == "grant" and self.before else _SIGNS[self.change[0]]

    @property
    def line(self) -> str:
        """It in words."""
        what, _, _, first, second, third, _ = self.change
        because = f" ({self.why})" if self.why else ""
        if what == "grant" and self.before:
            return f"change {first} {second} {self.before} -> {third}"
        if what in ("grant", "revoke"):
            return f"{what} {first} {second} {third}"
        if what in ("assign", "unassign"):
            return f"{what} {self.before}{because}"
        return {"create": "create the role", "delete": "delete the role", "describe": "describe it anew"}[
            what
        ]


class Plan(NamedTuple):
    """All changes, and the settings that ask for them."""

    changes: list[Planned]
    settings: "Settings"


class Settings:
    """The settings of this place as they were when this was made.

    Raises:
        Refused: They have faults, or this MLflow has no roles; in words.
    """

    def __init__(self, place: Place, people: People) -> None:
        """Reads the environment and the files."""
        patient = place.patient
        if isinstance(patient.hook, str) or patient.ini_path is None:
            raise Refused(f"MLflow cannot be used here: {patient.hook}")
        version = patient.mlflow_version or ""
        kind = people.mlflow.dialect.name
        usable = is_usable(plain_file(people.mlflow), kind)
        pairs = patient.hook._section(patient.ini_path)
        self.planner = _native.RolePlanner(pairs, usable, kind, version)
        told = json.loads(self.planner.told())
        # The settings first: a fault there is what the reader has to mend, whatever the database is.
        if faults := told["settings"]["faults"]:
            lines = [f"{each['key']}: expected {each['expected']}, found {each['found']}" for each in faults]
            raise Refused("the settings have faults; nothing was changed. " + "; ".join(lines))
        if reason := missing(people.mlflow, version):
            raise Refused(f"[oidc:roles] is not carried out: {reason}")
        self.warnings: list[str] = told["settings"]["warnings"]
        self.count: int = told["settings"]["read"]["roles"]
        self.issuer: str = told["settings"]["read"]["issuer"]
        self.user_groups: list[str] = told["settings"]["read"]["user_groups"]
        self.admin_groups: list[str] = told["settings"]["read"]["admin_groups"]
        self.source = _source(told["source"], place)

    @property
    def lines(self) -> list[str]:
        """Where they come from. What is planned in one environment may not be what the server has."""
        members = ", ".join(self.user_groups) or "everybody whom the provider lets in"
        return [
            f"Roles in the settings: {self.count}, from {self.source}",
            f"Members: {members}. Administrators: {', '.join(self.admin_groups) or 'no group'}.",
            f"Provider: {self.issuer}",
            "",
        ]


def _source(source: str | None, place: Place) -> str:
    ini = place.patient.ini_path
    if source is None:
        return f"OIDC_ROLES, OIDC_ROLES_FILE and {ini}: there is no role in any of them"
    if source.startswith("["):
        return f"{source} of {ini}"
    return f"{source} ({place.patient.environment.get(source)})" if source.endswith("_FILE") else source


def run(options: argparse.Namespace) -> int:
    """Runs one of the commands; what it returns is the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal may have fewer letters than a group's name.
            stream.reconfigure(errors="backslashreplace")
    try:
        place = Place(Patient())
        with opened(place) as people:
            return _plan(place, people, options) if options.what == "plan" else _apply(place, people, options)
    except Refused as fault:
        told = str(fault)
    except Unanswered as fault:
        told = f"the database gave no answer: {fault.for_the_log}"
    _complain(options, told)
    return REFUSED


def _complain(options: argparse.Namespace, told: str) -> None:
    sys.stdout.flush()
    print(f"mlflow-oidc roles {options.what}: {_printable(told)}", file=sys.stderr)


def look(people: People, settings: Settings) -> Plan:
    """Compares the settings with what is in the database."""
    roles, prefix = Roles(Database(people.mlflow)), _native.ROLE_PREFIX
    # Whoever signs in between these reads seems to have roles that their groups do not give, or the other way
    # round; the look after the change puts that right.
    known = [
        (identity.issuer, identity.username, identity.user_id, identity.groups)
        for page in people.pages()
        for identity, _ in page
    ]
    answer = settings.planner.changes(roles.kept(prefix), roles.assigned(prefix), roles.users(), known)
    planned = [Planned(_change(each["row"]), each["before"], each["why"]) for each in json.loads(answer)]
    return Plan(planned, settings)


def _change(row: list[Any]) -> Change:
    what, workspace, name, first, second, third, user = row
    return what, workspace, name, first, second, third, user


def _plan(place: Place, people: People, options: argparse.Namespace) -> int:
    plan = look(people, Settings(place, people))
    _print(plan, as_json=options.json)
    return CHANGES if plan.changes and options.detailed_exitcode else DONE


def _apply(place: Place, people: People, options: argparse.Namespace) -> int:
    settings = Settings(place, people)
    plan = look(people, settings)
    _print(plan, as_json=options.json)
    if not plan.changes:
        return DONE
    if not settings.count and not options.remove_all_roles:
        raise Refused(
            "there is no role in the settings here, and the database has some; nothing was changed. Run it "
            "in the folder and environment of the server, or say --remove-all-roles if all of them are to go"
        )
    if not options.yes:
        if not sys.stdin.isatty():
            _complain(options, "nothing was changed. Say --yes where nobody can be asked")
            return MISUSED
        print("\nMake these changes? Only 'yes' is a yes: ", end="", flush=True)
        if sys.stdin.readline().strip() != "yes":
            raise Refused("nothing was changed")
        if sorted(look(people, settings).changes) != sorted(plan.changes):
            raise Refused(
                "meanwhile something has changed in the database; nothing was done, so that nothing is done "
                "that was not shown. Look again"
            )
    # Whatever becomes of the change: what was to be done is to be seen.
    sys.stdout.flush()
    return _carry_out(people, plan, options)


def _carry_out(people: People, plan: Plan, options: argparse.Namespace) -> int:
    roles = Roles(Database(people.mlflow))
    left_out: dict[Change, str] = {}
    changes = plan.changes
    for left in reversed(range(_AGAIN)):
        for index, why in roles.change([each.change for each in changes]):
            if why is not None and (change := changes[index].change) not in left_out:
                left_out[change] = why
                name = f"{change[1]}/{change[2].removeprefix(_native.ROLE_PREFIX)}"
                _complain(options, f"left out: {name}: {changes[index].line}: {why}")
        changes = [each for each in look(people, plan.settings).changes if not _is_in(left_out, each.change)]
        if not changes:
            if left_out:
                return REFUSED
            if not options.json:
                print("\nDone.")
            return DONE
        if not left:
            break
        # People sign in meanwhile. A program reads one object, and it was printed.
        to = sys.stderr if options.json else sys.stdout
        for line in [
            "",
            "Meanwhile something else has changed, so that this is done as well:",
            *_lines(changes),
        ]:
            print(_printable(line), file=to, flush=True)
    raise Refused("somebody else changes the roles all the time; look again")


def _is_in(left_out: dict[Change, str], change: Change) -> bool:
    """Whether a change was left out, or is of a role that was."""
    return change in left_out or any(
        what == "create" and role == list(change[1:3]) for what, *role in (each[:3] for each in left_out)
    )


def _print(plan: Plan, *, as_json: bool) -> None:
    settings = plan.settings
    if as_json:
        told = {
            "changes": [_object(each) for each in plan.changes],
            "warnings": settings.warnings,
            "source": settings.source,
            "issuer": settings.issuer,
            "user_groups": settings.user_groups,
            "admin_groups": settings.admin_groups,
        }
        print(json.dumps(told, indent=2))
        return
    warnings = [f"warning: {warning}" for warning in settings.warnings]
    for line in [*settings.lines, *warnings, *_lines(plan.changes)]:
        print(_printable(line))


def _lines(changes: list[Planned]) -> list[str]:
    """Role by role, as a reader looks for them."""
    if not changes:
        return ["No changes. MLflow's roles are those of [oidc:roles]."]
    by_role: dict[tuple[str, str], list[Planned]] = {}
    for each in changes:
        by_role.setdefault((each.change[1], each.change[2]), []).append(each)
    lines = []
    for (workspace, name), of_role in sorted(by_role.items()):
        lines += [f"{workspace}/{name.removeprefix(_native.ROLE_PREFIX)}"]
        lines += [f"  {each.sign} {each.line}" for each in of_role]
        lines += [""]
    return [*lines, summary(changes)]


def summary(changes: list[Planned]) -> str:
    """The counts in one line."""

    def count(*signs: tuple[str, str]) -> int:
        return sum((each.change[0], each.sign) in signs for each in changes)

    return (
        f"Plan: roles {count(('create', '+'))} to create, {count(('describe', '~'))} to describe anew, "
        f"{count(('delete', '-'))} to delete; grants {count(('grant', '+'))} to give, "
        f"{count(('grant', '~'))} to change, {count(('revoke', '-'))} to revoke; "
        f"people {count(('assign', '+'))} to assign, {count(('unassign', '-'))} to unassign."
    )


def _object(planned: Planned) -> dict[str, Any]:
    what, workspace, name, first, second, third, user = planned.change
    told: dict[str, Any] = {"do": what, "workspace": workspace, "role": name}
    if what in ("grant", "revoke"):
        told |= {"resource_type": first, "resource_pattern": second, "permission": third}
        if what == "grant":
            told["instead_of"] = planned.before or None
    elif what in ("assign", "unassign"):
        told |= {"user": planned.before, "user_id": user, "because": planned.why}
    elif what in ("create", "describe"):
        told["description"] = first
    return told
