"""Run by the Python of an environment that holds the wheel alone: is everything in it that users name?"""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

# Those that work without an MLflow beside them. What MLflow calls needs its Flask.
MODULES = ("mlflow_oidc", "mlflow_oidc._native", "mlflow_oidc.cli")
FILES = ("mlflow_oidc/py.typed", "mlflow_oidc/_native.pyi", "mlflow_oidc/hook.py", "auth/oidc_auth.py")


def main() -> None:
    """Ends with one readable line where something is missing."""
    distribution = importlib.metadata.distribution("mlflow-oidc")
    root = Path(str(distribution.locate_file(""))).resolve()

    for name in MODULES:
        place = Path(importlib.import_module(name).__file__ or "").resolve()
        demand(root in place.parents, f"{name} came from {place}, not from the wheel in {root}")

    shipped = {str(file) for file in distribution.files or ()}
    absent = [file for file in FILES if file not in shipped]
    demand(not absent, f"the wheel lacks {absent}")
    foreign = [name for name in shipped if name.split("/")[0] in ("tests", "tools", "src")]
    demand(not foreign, f"the wheel has files that are not for users: {foreign[:5]}")
    needed = [line for line in distribution.requires or () if "extra ==" not in line]
    demand(not needed, f"the wheel must not ask for anything by itself, but asks for {needed}")

    for point in distribution.entry_points:
        demand(callable(point.load()), f"entry point {point.group}: {point.name} is not callable")
    said = answer_of("--version")
    demand(said == f"mlflow-oidc {distribution.version}\n", f"mlflow-oidc --version said {said!r}")
    for form in ("ini", "markdown"):
        demand(
            "OIDC_ISSUER_URL" in answer_of("settings", "--format", form),
            f"settings as {form} lacks OIDC_ISSUER_URL",
        )
    names = ", ".join(f"{point.name} = {point.value}" for point in distribution.entry_points)
    print(f"mlflow-oidc {distribution.version} on Python {sys.version.split()[0]}: {names}")


def answer_of(*arguments: str) -> str:
    """What the command of the wheel prints."""
    command = [str(Path(sys.executable).parent / "mlflow-oidc"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def demand(good: object, otherwise: str) -> None:
    """One line and exit status 1 where it is not so."""
    if not good:
        sys.exit(f"the installed wheel is not right: {otherwise}")


if __name__ == "__main__":
    main()
