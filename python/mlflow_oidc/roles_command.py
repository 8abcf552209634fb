"""``mlflow-oidc roles``: how MLflow's roles differ from ``[oidc:roles]``, and making them agree.

What is there is read here and what is to be done is written here; the native module says what that is.
"""

import argparse
import json
import sys
from typing import Any, NamedTuple

from mlflow_oidc import _native
from mlflow_oidc.asking import Database, Unanswered
from mlflow_oidc.doctor import Patient, _printable
from mlflow_oidc.people import People, Refused
from mlflow_oidc.people_database import Place, opened
from mlflow_oidc.read_only import plain_file
from mlflow_oidc.roles import Change, Roles, missing

DONE, REFUSED, CHANGES = 0, 1, 2

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
    """All changes, and what is strange about the settings."""

    changes: list[Planned]
    warnings: list[str]


def run(options: argparse.Namespace) -> int:
    """Runs one of the commands; what it returns is the exit status."""
    try:
        with opened(Place(Patient())) as people:
            return _plan(people, options) if options.what == "plan" else _apply(people, options)
    except Refused as fault:
        told = str(fault)
    except Unanswered as fault:
        told = f"the database gave no answer: {fault.for_the_log}"
    print(f"mlflow-oidc roles {options.what}: {_printable(told)}", file=sys.stderr)
    return REFUSED


def look(place: Place, people: People) -> Plan:
    """Compares the settings with what is in the database.

    Raises:
        Refused: The settings have faults, or this MLflow has no roles; in words.
    """
    patient = place.patient
    if isinstance(patient.hook, str) or patient.ini_path is None:
        raise Refused(f"MLflow cannot be used here: {patient.hook}")
    version = patient.mlflow_version or ""
    kind = people.mlflow.dialect.name
    usable = plain_file(people.mlflow) is not None or patient.hook.is_of_a_server(kind)
    ini = patient.hook._section(patient.ini_path)
    # The settings first: a fault there is what the reader has to mend, whatever the database is.
    _told(_native.plan_roles(ini, usable, kind, version, [], [], {}, []))
    if reason := missing(people.mlflow, version):
        raise Refused(f"[oidc:roles] is not carried out: {reason}")
    roles, prefix = Roles(Database(people.mlflow)), _native.ROLE_PREFIX
    # Whoever signs in between these reads seems to have roles that their groups do not give, or the other way
    # round; the look after the change puts that right.
    known = [
        (identity.issuer, identity.username, identity.user_id, identity.groups)
        for page in people.pages()
        for identity, _ in page
    ]
    answer = _native.plan_roles(
        ini, usable, kind, version, roles.kept(prefix), roles.assigned(prefix), roles.users(), known
    )
    told = _told(answer)
    planned = [Planned(_change(each["row"]), each["before"], each["why"]) for each in told["changes"]]
    return Plan(planned, told["settings"]["warnings"])


def _change(row: list[Any]) -> Change:
    what, workspace, name, first, second, third, user = row
    return what, workspace, name, first, second, third, user


def _told(answer: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(answer)
    if faults := told["settings"]["faults"]:
        lines = [f"{each['key']}: expected {each['expected']}, found {each['found']}" for each in faults]
        raise Refused("the settings have faults; nothing was changed. " + "; ".join(lines))
    return told


def _plan(people: People, options: argparse.Namespace) -> int:
    plan = look(Place(Patient()), people)
    _print(plan, as_json=options.json)
    return CHANGES if plan.changes and options.detailed_exitcode else DONE


def _apply(people: People, options: argparse.Namespace) -> int:
    place = Place(Patient())
    plan = look(place, people)
    _print(plan, as_json=options.json)
    if not plan.changes:
        return DONE
    if not options.yes and sys.stdin.isatty():
        print("\nMake these changes? Only 'yes' is a yes: ", end="", flush=True)
        if sys.stdin.readline().strip() != "yes":
            raise Refused("nothing was changed")
    # Whatever becomes of the change: what was to be done is to be seen.
    sys.stdout.flush()
    roles = Roles(Database(people.mlflow))
    for _ in range(_AGAIN):
        roles.change([each.change for each in plan.changes])
        plan = look(place, people)
        if not plan.changes:
            if not options.json:
                print("\nDone.")
            return DONE
    raise Refused("somebody else changes the roles all the time; look again")


def _print(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {"changes": [_object(each) for each in plan.changes], "warnings": plan.warnings}, indent=2
            )
        )
        return
    for warning in plan.warnings:
        print(f"warning: {_printable(warning)}")
    for line in _lines(plan.changes):
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
