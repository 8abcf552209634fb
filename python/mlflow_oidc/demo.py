"""`mlflow-oidc demo`: MLflow with single sign-on and a provider with three people, on this machine only.

Everything lives in a temporary folder and in two process groups, and all are gone when the demo ends, however
it ends. The unattended walk through it (`--check`) is demo_check.py.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from mlflow_oidc import demo_browser, demo_check, demo_people, demo_servers, demo_snippets

# What the demo starts, and what is missing without it.
NEEDED = {"mlflow": "mlflow", "flask": "mlflow", "oidc_provider_mock": "oidc-provider-mock"}


def run(*, check: bool, port: int | None) -> int:
    """Start everything, show it (or walk through it), and leave nothing behind. The exit status."""
    missing = sorted(
        {package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None}
    )
    if missing:
        print(f"The demo needs {' and '.join(missing)}: pip install 'mlflow-oidc[demo]'", file=sys.stderr)
        return 1
    # A polite request to end is treated like Ctrl-C, so that there is one way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="mlflow-oidc-demo-", ignore_cleanup_errors=True)
            place = Path(stack.enter_context(folder))
            servers = demo_servers.Servers.planned(place, port, anywhere=check)
            try:
                servers.start(stack, demo_people.PEOPLE, demo_people.GROUP)
                if check:
                    return demo_check.walk(servers)
                show(servers)
                servers.watch()
            finally:
                # A second, impatient Ctrl-C must not cut the cleaning up short.
                _ignore_signals()
    except KeyboardInterrupt:
        print("\nStopped. The servers and the temporary folder are gone.")
        return 130 if check else 0
    except demo_servers.DemoError as fault:
        print(f"\n{fault}", file=sys.stderr)
        return 1
    return 0


def show(servers: demo_servers.Servers) -> None:
    """The address, the people, and two ways in for programs, with a token that works as it stands."""
    token = demo_browser.id_token(servers, demo_people.ALICE.email)
    people = "\n".join(
        f"  {person.email:<20} {' '.join(person.groups) or 'no group':<13} {person.may}"
        for person in demo_people.PEOPLE
    )
    text = f"""
MLflow {servers.mlflow_version}:  {servers.mlflow}
The provider:  {servers.provider}

Open MLflow in a browser and choose one of the provider's people. {servers.mlflow}/oidc/logout signs out.

{people}

From Python as alice (paste it into another terminal):

{demo_snippets.python(servers, token)}

With curl as alice:

{demo_snippets.curl(servers, token)}

All files, logs too, are in {servers.folder}. Ctrl-C stops everything and removes them."""
    print(text, flush=True)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
