"""Releases of MLflow with faults of their own that people who use them with mlflow-oidc will meet.

Each was seen on a running server or read in that release's source (docs/compatibility.md says which). Nothing
is imported here, so that the table can be read where MLflow itself does not start.
"""

import logging
import os
import re
from typing import NamedTuple

Version = tuple[int, int, int]


class Fault(NamedTuple):
    """One fault of a closed range of versions."""

    first: Version
    last: Version
    # What people see, as the end of a sentence that begins with the version.
    seen: str
    # What to do about it.
    way_out: str
    # The server under which it is there; empty for every one.
    server: str = ""
    # Whether MLflow gets as far as asking us: a server that does not start writes no warning of ours.
    starts: bool = True


FAULTS = (
    Fault(
        (2, 9, 0),
        (3, 8, 1),
        "does not start with SQLAlchemy 2.1 or later (ImportError: FallbackAsyncAdaptedQueuePool)",
        "pip install 'sqlalchemy<2.1'",
        starts=False,
    ),
    Fault(
        (2, 11, 0),
        (2, 22, 5),
        "answers 500 on /graphql to everybody, so some pages of its UI stay empty",
        "MLflow 3.0.0 or later",
    ),
    Fault(
        (2, 9, 0),
        (3, 5, 1),
        "shows in runs/search the runs of experiments that the user may not read",
        "MLflow 3.6.0 or later",
    ),
    Fault(
        (2, 9, 0),
        (3, 6, 0),
        "gives every signed-in user every artifact through /get-artifact",
        "MLflow 3.7.0 or later",
    ),
    Fault(
        (3, 3, 0),
        (3, 3, 2),
        "answers 500 on every page, /health too",
        "MLflow 3.4.0 or later, or --gunicorn-opts",
        server="uvicorn",
        starts=False,
    ),
    Fault(
        (3, 4, 0),
        (3, 9, 0),
        "has no permission checks on the routes that it serves without Flask (/v1/traces, jobs, assistant): "
        "every signed-in user may use them for every experiment",
        "MLflow 3.10.0 or later, or --gunicorn-opts",
        server="uvicorn",
    ),
    Fault(
        (3, 3, 0),
        (3, 10, 1),
        "lets every signed-in user read and change all webhooks",
        "MLflow 3.11.1 or later",
    ),
    Fault(
        (3, 16, 0),
        (3, 16, 0),
        "answers 403 on GET / to everybody who is no administrator",
        "MLflow 3.16.1, or MLFLOW_BASIC_AUTH_FAIL_CLOSED=false",
    ),
)

logger = logging.getLogger("mlflow.oidc")


def faults(version: str, server: str | None = None) -> list[Fault]:
    """The faults of a version, such as ``3.9.0``; none for what is no whole release.

    With ``server`` (``uvicorn``, or anything else) only those that are there under it.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return []
    major, minor, patch = (int(part) for part in version.split("."))
    return [
        fault
        for fault in FAULTS
        if fault.first <= (major, minor, patch) <= fault.last
        and (server is None or fault.server in ("", server))
    ]


def warn(version: str) -> None:
    """One line in the log for a release with faults; called once in a worker."""
    # MLflow says to its workers which server runs them; without that word it is gunicorn.
    server = os.environ.get("_MLFLOW_SGI_NAME") or "gunicorn"
    found = [fault for fault in faults(version, server) if fault.starts]
    if found:
        told = "; ".join(f"it {fault.seen} (way out: {fault.way_out})" for fault in found)
        logger.warning("MLflow %s has faults of its own: %s", version, told)
