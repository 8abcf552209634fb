"""What MLflow loads in each process before its auth app: the way to the native routes of 3.4 to 3.14.

Those releases serve some routes without passing Flask, and ask no custom ``authorization_function`` there.
Whoever wants to guard them has to be there before the app is made, so this module stands in the entry point
group ``mlflow.run_context_provider``, which is loaded wherever MLflow itself is imported: in clients too.
So it imports nothing, and in a process that never imports ``mlflow.server.auth`` it does nothing.
"""

import logging
import os
import re
import sys
from types import ModuleType
from typing import Any

# The releases whose sources were read, and whether they have permission checks on native routes.
# All that were released from 3.4 to 3.14; from 3.15 on MLflow asks us by itself.
NATIVE_CHECKS = {
    "3.4.0": False,
    "3.5.0": False,
    "3.5.1": False,
    "3.6.0": False,
    "3.7.0": False,
    "3.8.0": False,
    "3.8.1": False,
    "3.9.0": True,
    "3.10.0": True,
    "3.10.1": True,
    "3.11.1": True,
    "3.12.0": True,
    "3.13.0": True,
    "3.14.0": True,
}
_AUTH = "mlflow.server.auth"

logger = logging.getLogger("mlflow.oidc")


class NoContext:
    """The run context provider that MLflow asked for. It never has anything to say about a run."""

    def __init__(self) -> None:
        """MLflow makes one when it loads its plugins, which is when there is something to watch for."""
        _watch()

    def in_context(self) -> bool:
        """Whether it has tags for the run that is being made: never."""
        return False

    def tags(self) -> dict[str, str]:
        """None."""
        return {}


class _Watch:
    """A finder that finds nothing by itself: it sees MLflow's auth app being imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that the other finders have for it, with ours to do once it is loaded."""
        if name != _AUTH:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Watch):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                load: Any = spec.loader
                load.exec_module = _and_then(load.exec_module)
                return spec
        return None


def _and_then(execute: Any) -> Any:
    def exec_module(module: ModuleType) -> None:
        execute(module)
        # The loader of a zip file is one for all of its modules.
        if module.__name__ == _AUTH:
            _install(module)

    return exec_module


def _install(module: ModuleType) -> None:
    from mlflow_oidc import bridge

    bridge.install(module, NATIVE_CHECKS[_version() or ""])


def _version() -> str | None:
    """MLflow's version: its first own import, so that it is there whenever MLflow loads its plugins."""
    version: str | None = getattr(sys.modules.get("mlflow.version"), "VERSION", None)
    return _release(version) if version else None


def _release(version: str) -> str:
    """The release that a rebuilt one is: a company's own ``3.8.1+corp`` has the routes of ``3.8.1``."""
    return version.partition("+")[0].partition(".post")[0]


def warn_if_missing(version: str) -> None:
    """Says that native routes are not guarded, where they should be. Raises nothing.

    Takes MLflow's version. It is for a worker whose auth app is being asked already.
    """
    if not re.match(r"3\.([4-9]|1[0-4])\.", version) or os.environ.get("_MLFLOW_SGI_NAME") != "uvicorn":
        return
    from mlflow_oidc import bridge

    if not bridge.active():
        known = _release(version) in NATIVE_CHECKS
        logger.error(
            "mlflow-oidc does not guard the native routes of MLflow %s, because %s; way out: --gunicorn-opts",
            version,
            "its entry point was not loaded, or authorization_function names another function"
            if known
            else "it does not know this release",
        )


def _watch() -> None:
    if _version() not in NATIVE_CHECKS:
        return
    module = sys.modules.get(_AUTH)
    if module is None:
        if not any(isinstance(finder, _Watch) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Watch())
    elif not getattr(module.__spec__, "_initializing", False):
        _install(module)
