"""Makes the virtual environments under build/venv: one for the build, one for the tools, one for each MLflow.

`python3 tools/venvs.py NAME...` makes those that are missing or stale, with one line for each.
What is in an environment is a file of tools/requirements. With `--wheel FILE` the built wheel is installed as
well: never the source tree, so what is tried is what users get.

Only the standard library is used here, because this is the first thing that runs on a fresh machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import matrix
import pip_settings
import pythons
from turns import one_at_a_time, told

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / "build" / "venv"


@dataclass(frozen=True)
class Environment:
    """One row of the table: what it is for, which Python it needs, whether wheels go into it."""

    name: str
    purpose: str
    takes_wheel: bool = True
    newest_python: tuple[int, int] | None = None
    oldest_python: tuple[int, int] = pythons.FLOOR
    packages: str = ""

    @property
    def folder(self) -> Path:
        return VENVS / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def requirements(self) -> Path | None:
        """The file that names its packages; an environment without one is empty but for the wheel."""
        file = ROOT / "tools" / "requirements" / f"{self.packages or self.name}.txt"
        return file if file.exists() else None


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("build", "maturin, which builds the wheel (seconds)", takes_wheel=False),
        Environment("tools", "the tools that check and test (about a minute)"),
        Environment("empty", "an empty environment for the wheel (seconds)"),
        Environment("instructions", "what stands around our function while it is counted (seconds)"),
        Environment("sdist", "an empty environment for the wheel made from the sdist (seconds)"),
        Environment("mlflow-3.17.2", "MLflow 3.17.2 (one or two minutes)"),
        Environment("mlflow-3.17.2-uvloop", "MLflow 3.17.2 and uvloop (one or two minutes)"),
        # The older ones pin packages that have no wheels for a newer Python.
        Environment("mlflow-2.22.5", "MLflow 2.22.5 (one or two minutes)", newest_python=(3, 11)),
        Environment("mlflow-2.9.2", "MLflow 2.9.2 (one or two minutes)", newest_python=(3, 11)),
        # mlflow-oidc-auth does not start on 3.11, and the figures to compare with are of 3.12.
        Environment(
            "bench",
            "MLflow 3.17.2 and what it is measured beside (a minute)",
            newest_python=(3, 12),
            oldest_python=(3, 12),
        ),
    )
}
for cell in matrix.CELLS:
    only = (3, int(cell.python.removeprefix("3.")))
    ENVIRONMENTS[f"mlflow-{cell.environment}"] = Environment(
        f"mlflow-{cell.environment}",
        f"MLflow {cell.version} (seconds to a minute)",
        newest_python=only,
        oldest_python=only,
        packages=f"mlflow-{cell.version}",
    )


def main() -> int:
    """Make what was asked for; 1 with one clear line when something cannot be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(ENVIRONMENTS), metavar="NAME")
    parser.add_argument(
        "--wheel",
        type=Path,
        action="append",
        default=[],
        help="a built wheel, installed where the environment takes one; several may be named",
    )
    arguments = parser.parse_args()
    try:
        with one_at_a_time(VENVS):
            for name in arguments.names:
                make(ENVIRONMENTS[name], arguments.wheel)
    except (Failed, pythons.NoPython) as fault:
        print(f"*** {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("*** stopped; what was half made is made anew by the next run", file=sys.stderr)
        return 130
    return 0


class Failed(Exception):
    """Something could not be installed; the text is for the person at the terminal."""


def make(environment: Environment, wheels: list[Path]) -> None:
    """One environment and the wheels in it, where they are not there already."""
    try:
        interpreter = pythons.find(environment.newest_python, environment.oldest_python)
    except pythons.NoPython as reason:
        if os.environ.get("CI") == "true":
            raise
        print(f"Left out: {environment.name}. {reason} What needs it is skipped.")
        # One that an earlier run made would be tried with an old wheel.
        shutil.rmtree(environment.folder, ignore_errors=True)
        return
    requirements = environment.requirements()
    wanted = digest(interpreter.label.encode(), requirements.read_bytes() if requirements else b"")
    stamp = environment.folder / "made-from"
    if read(stamp) != wanted or not environment.python.exists():
        with told(f"Making an environment on {interpreter.label} with {environment.purpose}"):
            shutil.rmtree(environment.folder, ignore_errors=True)
            create(environment, interpreter, requirements)
            stamp.write_text(wanted)
    if wheels and environment.takes_wheel:
        put_wheels(environment, wheels)


def put_wheels(environment: Environment, wheels: list[Path]) -> None:
    """The wheels as users get them, again when the content of one has changed."""
    stamp = environment.folder / "made-from-wheel"
    wanted = digest(*(part for wheel in wheels for part in (wheel.name.encode(), wheel.read_bytes())))
    if read(stamp) == wanted:
        return
    names = " and ".join(wheel.name for wheel in wheels)
    with told(f"Installing {names} into {environment.name}"):
        stamp.unlink(missing_ok=True)
        # A wheel must never move the version of something that is there.
        install(environment, "--no-deps", "--reinstall", *map(str, wheels))
        stamp.write_text(wanted)


def create(environment: Environment, interpreter: pythons.Python, requirements: Path | None) -> None:
    """A new environment: by uv where it works (3 s for an MLflow), else by venv and pip (50 s)."""
    if environment.name == "build":
        run(interpreter.path, "-m", "venv", environment.folder)
        run(
            environment.python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            requirements,
        )
        # A machine that uv has no wheel for goes on with pip.
        run(
            environment.python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "uv",
            must=False,
        )
        return
    what = ["-r", str(requirements)] if requirements else []
    uv = uv_command()
    if uv:
        begun = run(uv, "venv", "--quiet", "--python", interpreter.path, environment.folder, must=False)
        if begun and (not what or install_by_uv(environment, what)):
            return
        print("    uv could not do it; trying again with pip, which is slower")
        shutil.rmtree(environment.folder, ignore_errors=True)
    run(interpreter.path, "-m", "venv", environment.folder)
    if what:
        install_by_pip(environment, what)


def install(environment: Environment, *what: str) -> None:
    """Into an environment that is there already, by whatever made it: only pip's own have pip."""
    if (environment.folder / "bin" / "pip").exists():
        install_by_pip(environment, ["--force-reinstall" if word == "--reinstall" else word for word in what])
    elif not install_by_uv(environment, list(what)):
        raise Failed(f"{what[-1]} could not be installed into {environment.name}")


def install_by_uv(environment: Environment, what: list[str]) -> bool:
    """True when uv did it."""
    uv = uv_command()
    return uv is not None and run(
        uv, "pip", "install", "--quiet", "--python", environment.python, *what, must=False
    )


def install_by_pip(environment: Environment, what: list[str]) -> None:
    """With pip's own words when it fails."""
    run(environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)


def uv_command() -> Path | None:
    """The uv beside maturin, where there is one."""
    uv = ENVIRONMENTS["build"].folder / "bin" / "uv"
    return uv if uv.exists() else None


def run(*command: object, must: bool = True) -> bool:
    """Run one command; one that must succeed and does not ends everything."""
    words = [str(word) for word in command]
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    environment.pop("VIRTUAL_ENV", None)
    if words[0].endswith("uv"):
        environment.update(pip_settings.for_uv(ENVIRONMENTS["build"].python))
    done = subprocess.run(words, check=False, env=environment, stdin=subprocess.DEVNULL)
    if must and done.returncode != 0:
        raise Failed(f"This failed with exit status {done.returncode}: {' '.join(words)}")
    return done.returncode == 0


def digest(*parts: bytes) -> str:
    """What a stamp holds: changed content, changed stamp."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read(stamp: Path) -> str:
    """The stamp's content, or nothing where there is none."""
    return stamp.read_text() if stamp.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
