"""Run by the Python of an environment that holds the wheel and nothing else: is everything in it that users name?"""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

MODULES = ("mlflow_oidc", "mlflow_oidc._native", "mlflow_oidc.cli", "auth.oidc_auth")
FILES = ("mlflow_oidc/py.typed", "mlflow_oidc/_native.pyi", "auth/oidc_auth.py")


def main() -> None:
    """Ends with a readable AssertionError where something is missing."""
    distribution = importlib.metadata.distribution("mlflow-oidc")
    root = Path(str(distribution.locate_file(""))).resolve()

    for name in MODULES:
        module = importlib.import_module(name)
        place = Path(module.__file__ or "").resolve()
        assert root in place.parents, f"{name} came from {place}, not from the wheel in {root}"
    assert "flask" not in sys.modules, "importing the package imported Flask: import must do nothing"

    shipped = {str(file) for file in distribution.files or ()}
    absent = [file for file in FILES if file not in shipped]
    assert not absent, f"the wheel lacks {absent}"
    needed = [line for line in distribution.requires or () if "extra ==" not in line]
    assert not needed, f"the wheel must not ask for anything by itself, but asks for {needed}"

    for point in distribution.entry_points:
        assert callable(point.load()), f"entry point {point.group}: {point.name} is not callable"
    script = Path(sys.executable).parent / "mlflow-oidc"
    said = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True).stdout
    assert distribution.version in said, f"mlflow-oidc --version said {said!r}"
    sample = subprocess.run([str(script), "settings"], capture_output=True, text=True, check=True).stdout
    assert "OIDC_ISSUER_URL" in sample, "mlflow-oidc settings does not name OIDC_ISSUER_URL"
    names = ", ".join(f"{point.name} = {point.value}" for point in distribution.entry_points)
    print(f"mlflow-oidc {distribution.version} on Python {sys.version.split()[0]}: {names}")


if __name__ == "__main__":
    main()
