"""The checks of ``mlflow-oidc doctor``: one row, one function each.

A check yields what it has to say, for whoever has to mend it. It may raise: the doctor says so.
"""

import configparser
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from importlib import util
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mlflow_oidc import releases
from mlflow_oidc.doctor import Finding, Patient
from mlflow_oidc.read_only import is_of_a_server

Check = Callable[[Patient], Iterable[Finding]]

FUNCTION = "auth.oidc_auth:authenticate_request"
# For whom another package has the name `auth`.
OTHER_NAME = "mlflow_oidc:authenticate_request"
# MLflow's versions, the first and the last that are tested.
OLDEST, NEWEST = (2, 9), (3, 17)
# Since this one MLflow does not start without a secret key, and needs Flask-WTF.
_SECRET_KEY_SINCE = (2, 20, 2)
# Since this one MLflow ships no password of its administrator, and does without one in the file.
_NO_PASSWORD_SINCE = (3, 16, 1)
_SHIPPED_PASSWORDS = ("password", "password1234")
# Since this one MLflow has roles.
ROLES_SINCE = (3, 12, 0)
# Since this one uvicorn is MLflow's default.
_UVICORN_SINCE = (3, 3, 0)
# How many groups, scopes and so on a line lists.
_LISTED = 12
# How much is shown of each, in characters.
_NAME_LIMIT = 100


def ok(said: str) -> Finding:
    return Finding("ok", said)


def warning(said: str) -> Finding:
    return Finding("warning", said)


def fault(said: str) -> Finding:
    return Finding("FAULT", said)


def mlflow_release(patient: Patient) -> Iterator[Finding]:
    version, release = patient.mlflow_version, patient.mlflow_release
    if version is None:
        yield fault("it is not installed here; run the doctor by the Python that runs the server")
        return
    if release is None or release[:2] < OLDEST:
        yield fault(f"{version} is not supported; 2.9.0 is the oldest that is")
        return
    if release >= _SECRET_KEY_SINCE and util.find_spec("flask_wtf") is None:
        yield fault(
            f"{version} does not start its basic-auth app without Flask-WTF: pip install 'mlflow[auth]'"
        )
    known = releases.faults(version)
    for known_fault in known:
        under = f" under {known_fault.server}" if known_fault.server else ""
        yield warning(f"{version}{under} {known_fault.seen}; way out: {known_fault.way_out}")
    if release[:2] > NEWEST:
        yield warning(f"{version} is newer than 3.17, the last one that was tested")
    elif not known:
        yield ok(version)


def ini_file(patient: Patient) -> Iterator[Finding]:
    if "MLFLOW_AUTH_CONFIG_PATH" not in patient.environment:
        yield warning("MLFLOW_AUTH_CONFIG_PATH is not set, so MLflow reads the file of its own package")
    if isinstance(patient.ini, str):
        yield fault(f"{patient.ini_path}: {patient.ini}")
        return
    if not patient.ini.has_section("mlflow"):
        yield fault(f"{patient.ini_path}: there is no section [mlflow]")
        return
    unreadable = []
    for name in patient.ini.options("mlflow"):
        try:
            patient.ini.get("mlflow", name)
        except configparser.Error:
            unreadable.append(name)
    for name in unreadable:
        yield fault(
            f"{patient.ini_path}: MLflow cannot read {name} in [mlflow]; a '%' in a value is written '%%'"
        )
    if not unreadable:
        yield ok(str(patient.ini_path))


def function(patient: Patient) -> Iterator[Finding]:
    if isinstance(patient.ini, str):
        return
    try:
        named = patient.mlflow_setting("authorization_function")
    except configparser.Error:
        return
    if named is None:
        yield fault(f"not set in [mlflow], so MLflow knows its own passwords alone; expected {FUNCTION}")
    elif named not in (FUNCTION, OTHER_NAME):
        yield fault(f"expected {FUNCTION}, found {named!r}")
    elif isinstance(patient.hook, str):
        yield fault(f"{named} cannot be imported here: {patient.hook}")
    elif named == FUNCTION and (hiding := _hides_ours()):
        yield fault(f"the server would import another package 'auth': {hiding}")
    else:
        yield ok(named)


def _hides_ours() -> str | None:
    """Where another package of the name is found first: a server looks into its own folder, too."""
    spec = PathFinder.find_spec("auth", [os.getcwd(), *sys.path])
    if spec is None:
        return "none at all"
    folders = list(spec.submodule_search_locations or [])
    if any((Path(folder) / "oidc_auth.py").is_file() for folder in folders):
        return None
    return spec.origin or ", ".join(folders)


def administrator(patient: Patient) -> Iterator[Finding]:
    release = patient.mlflow_release
    try:
        password = patient.mlflow_setting("admin_password")
    except configparser.Error:
        return
    if release is None or isinstance(patient.ini, str):
        return
    if release >= _NO_PASSWORD_SINCE:
        password = patient.environment.get("MLFLOW_AUTH_ADMIN_PASSWORD") or password
        path, _ = patient.database
        if not password and path is not None and not Path(path).exists():
            # No fault: the doctor may have been started in another folder than the server.
            yield warning(
                "neither admin_password nor MLFLOW_AUTH_ADMIN_PASSWORD is set, and the first start of "
                f"{patient.mlflow_version} fails so: set one for it"
            )
            return
    elif password is None:
        yield fault(f"admin_password is missing in [mlflow], and {patient.mlflow_version} does not start so")
        return
    if password in _SHIPPED_PASSWORDS:
        yield warning(
            "admin_password is the one that MLflow ships, with which anybody can be the administrator: "
            "set another before the first start (after it, change it at MLflow), or OIDC_BASIC_AUTH=false"
        )
    elif password:
        yield ok("the local administrator's password is not the one that MLflow ships")


def database(patient: Patient) -> Iterator[Finding]:
    path, kind = patient.database
    if path is None:
        if is_of_a_server(kind):
            from mlflow_oidc import doctor_database

            yield doctor_database.look(patient.database_uri or "", kind)
        # Else the settings say why: it is one of their faults.
        return
    folder = Path(path).parent
    if not folder.is_dir():
        yield fault(f"there is no folder {folder}; a relative path counts from where the server is started")
    elif not os.access(folder, os.W_OK):
        yield fault(f"{folder} cannot be written to by this user; {path}-oidc has to be made there")
    elif not Path(path).exists():
        yield warning(f"{path} is not there yet; was the doctor started in the folder of the server?")
    else:
        yield ok(path)


def secret_key(patient: Patient) -> Iterator[Finding]:
    name = "MLFLOW_FLASK_SERVER_SECRET_KEY"
    value = patient.environment.get(name)
    release = patient.mlflow_release
    if not value:
        if release is not None and release >= _SECRET_KEY_SINCE:
            yield fault(f"{name} is not set; MLflow does not start without it")
        else:
            yield warning(f"{name} is not set")
    elif len(value) < 16:
        yield warning(f"{name} has {len(value)} characters; it should have 16 at least")
    else:
        yield ok(f"{name} is set; it has to be the same on every server")


def settings(patient: Patient) -> Iterator[Finding]:
    told = patient.seen["settings"]
    if told["faults"] and isinstance(patient.ini, str):
        # What is missing may be in the file that cannot be read.
        return
    for each in told["faults"]:
        yield fault(f"{each['key']}: expected {each['expected']}, found {each['found']}")
    for each in told["warnings"]:
        yield warning(each)
    if (read := told["read"]) is not None:
        kind = "a public client" if read["public_client"] else "with a secret"
        who = _listed(read["user_groups"]) or "everybody whom the provider lets in"
        yield ok(f"client {read['client_id']!r} ({kind}) of {read['issuer']}; for {who}")


def address(patient: Patient) -> Iterator[Finding]:
    read = patient.settings
    if read is None:
        return
    if read["redirect_uri"] is None:
        example = f"http://localhost:5000{read['prefix']}{read['callback']}"
        yield warning(
            "OIDC_PUBLIC_URL is not set: the redirect URI is made of the address in each request "
            f"({example}, say), and each has to be registered at the provider"
        )
        return
    yield ok(f"the redirect URI that has to be registered at the provider is {read['redirect_uri']}")
    if read["path"] != read["prefix"]:
        yield warning(
            f"the public URL has the path {read['path']!r}, and --static-prefix is {read['prefix']!r}: "
            "a proxy has to take off the one and put on the other (--static-prefix tells the doctor, too)"
        )


def roles(patient: Patient) -> Iterator[Finding]:
    read, release = patient.settings, patient.mlflow_release
    if read is None or not read["roles"] or release is None:
        return
    named = f"{read['roles']} in [oidc:roles]"
    if release < ROLES_SINCE:
        yield fault(
            f"{named}, and MLflow {patient.mlflow_version} has no roles: nothing of it is carried out. "
            "3.12.0 is the first that has them"
        )
        return
    from mlflow_oidc import roles_command
    from mlflow_oidc.asking import Unanswered
    from mlflow_oidc.people import Refused
    from mlflow_oidc.people_database import Place, opened

    place = Place(patient)
    try:
        with opened(place) as people:
            changes = roles_command.look(people, roles_command.Settings(place, people)).changes
    except (Refused, Unanswered) as reason:
        yield warning(f"{named}; they cannot be compared with the database: {reason}")
        return
    if changes:
        yield warning(f"{named}; not all is in the database yet. {roles_command.summary(changes)}")
    else:
        yield ok(f"{named}, and MLflow's roles are those")


def provider(patient: Patient) -> Iterator[Finding]:
    answer = patient.seen.get("metadata")
    if answer is None:
        return
    if answer["ok"]:
        yield ok(f"{answer['address']} (signs with {_listed(answer['algorithms'])})")
    else:
        yield fault(_refusal(answer))
        if answer["code"] == "provider_unreachable":
            yield from _ways_out(patient)


def _ways_out(patient: Patient) -> Iterator[Finding]:
    """The variables that decide how the provider is reached. Their values may hold a password."""
    names = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OIDC_CA_BUNDLE")
    set_here = [name for name in names if {name, name.lower()} & patient.environment.keys()]
    yield warning(f"of {', '.join(names)} these are set here: {', '.join(set_here) or 'none'}")


def keys(patient: Patient) -> Iterator[Finding]:
    answer = patient.seen.get("keys")
    if answer is None:
        return
    if not answer["ok"]:
        yield fault(_refusal(answer))
        return
    yield ok(f"{answer['count']} usable")
    if answer["skipped"]:
        yield warning(f"some cannot be used: {_listed(answer['skipped'])}")


def scopes(patient: Patient) -> Iterator[Finding]:
    read = patient.settings
    if read is not None:
        yield from _offered(patient, "scopes", [[scope] for scope in read["scopes"]], "OIDC_SCOPES")


def claims(patient: Patient) -> Iterator[Finding]:
    read = patient.settings
    if read is not None:
        # The first claim that is there names the user; groups are taken from all of them. Of a dotted path a
        # provider can list the first name alone.
        wanted = [read["username_claims"], *([name] for name in read["groups_claims"])]
        firsts = [[name if "://" in name else name.split(".")[0] for name in names] for names in wanted]
        yield from _offered(patient, "claims", firsts, "OIDC_USERNAME_CLAIM and OIDC_GROUPS_CLAIM")


def _offered(patient: Patient, kind: str, wanted: list[list[str]], setting: str) -> Iterator[Finding]:
    """Whether the provider lists one of each; a provider may leave the whole list out, and any name in it."""
    listed = (patient.metadata or {}).get(kind)
    if listed is None:
        return
    missing = [" or ".join(names) for names in wanted if not set(names) & set(listed)]
    if missing:
        told = f"{_listed(missing)} (of {setting}) not among the {kind} that the provider lists"
        yield warning(f"{told}: {_listed(listed)}")
    else:
        yield ok(f"the provider lists those of {setting}")


def clock(patient: Patient) -> Iterator[Finding]:
    read, metadata = patient.settings, patient.metadata
    if read is None or metadata is None:
        return
    try:
        told = parsedate_to_datetime(metadata["date"] or "").timestamp()
    except ValueError:
        yield warning("the provider tells no time")
        return
    ahead = round(patient.seen["now"] - told)
    apart = f"this machine is {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} the provider"
    apart = apart if ahead else "this machine and the provider agree"
    if abs(ahead) > read["skew"]:
        yield fault(f"{apart}; OIDC_CLOCK_SKEW_SECONDS allows {read['skew']}")
    elif abs(ahead) > max(5, read["skew"] / 2):
        yield warning(f"{apart}; OIDC_CLOCK_SKEW_SECONDS allows {read['skew']}")
    else:
        yield ok(f"{apart}, {read['skew']} are allowed")


def event_loop(patient: Patient) -> Iterator[Finding]:
    release = patient.mlflow_release
    workers = patient.environment.get("MLFLOW_WORKERS", "4")
    gunicorn = "MLFLOW_GUNICORN_OPTS" in patient.environment
    if release is None or release < _UVICORN_SINCE or gunicorn or workers == "1":
        return
    if util.find_spec("uvloop") is None and sys.platform == "linux":
        yield warning(
            "uvloop is not installed: with several workers each request takes 44 ms longer (docs/tuning.md)"
        )
    else:
        yield ok("uvloop")


def token(patient: Patient) -> Iterator[Finding]:
    if not patient.has_token:
        return
    judged = patient.seen.get("token")
    if judged is None:
        yield fault("it cannot be judged while there are faults in the settings")
    elif not judged["ok"]:
        yield fault(_refusal(judged))
    else:
        administrator = {True: "an administrator", False: "no administrator", None: "administrator as before"}
        groups = (
            "no groups claim" if judged["groups"] is None else f"groups {_listed(judged['groups']) or 'none'}"
        )
        left = judged["expires"] - patient.seen["now"]
        yield ok(
            f"let in as {judged['username']!r} ({groups}; {administrator[judged['admin']]}), "
            f"subject {judged['subject']!r}, for another {left} s"
        )


def _refusal(answer: dict[str, Any]) -> str:
    return f"{answer['code']}: {answer['sentence']} Expected {answer['expected']}; found {answer['found']}."


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(name[:_NAME_LIMIT] for name in names[:_LISTED]) + (
        f" and {more} more" if more > 0 else ""
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("MLflow", mlflow_release),
    ("basic_auth.ini", ini_file),
    ("authorization_function", function),
    ("administrator", administrator),
    ("database", database),
    ("secret key", secret_key),
    ("settings", settings),
    ("address", address),
    ("roles", roles),
    ("provider", provider),
    ("keys", keys),
    ("scopes", scopes),
    ("claims", claims),
    ("clock", clock),
    ("event loop", event_loop),
    ("token", token),
)
