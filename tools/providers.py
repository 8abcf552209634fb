"""Puts real OpenID providers under build/providers: two Keycloaks, Dex, and panva's certified oidc-provider.

`python3 tools/providers.py NAME...` makes those that are missing or stale, with one line for each. Where a
part is brought from stands in its row: Maven, the Go module proxy, npm. What brings it (mvn, go, npm) is the
machine's own, with the machine's own settings. Where it is missing the provider is left out with one clear
line; with CI=true that is a failure.

Only the standard library is used here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from turns import one_at_a_time, told

ROOT = Path(__file__).resolve().parent.parent
PROVIDERS = ROOT / "build" / "providers"
OURS = Path(__file__).resolve().parent / "providers"


class NotHere(Exception):
    """Something of the machine's is missing; the text says what."""


class Failed(Exception):
    """Something was there and did not work; the text is for the person at the terminal."""


@dataclass(frozen=True)
class Part:
    """One row of the table: a provider, what it comes from, and how that becomes a folder."""

    name: str
    source: str
    bring: Callable[[Part, Path], None]
    # The programs that have to be on the PATH, to bring it and to run it.
    needs: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return PROVIDERS / self.name


def by_maven(part: Part, folder: Path) -> None:
    """The zip of the distribution, unpacked; its only folder becomes ours."""
    artifact = f"{part.source}:zip"
    mvn = ["mvn", "--batch-mode", "--quiet"]
    run(*mvn, "dependency:get", f"-Dartifact={artifact}", "-Dtransitive=false")
    run(*mvn, "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    archive.unlink()
    (inner,) = folder.iterdir()
    for entry in inner.iterdir():
        entry.rename(folder / entry.name)
    inner.rmdir()
    # What a zip cannot say in Python: these are programs.
    for script in (folder / "bin").glob("*.sh"):
        script.chmod(0o755)


def by_go(part: Part, folder: Path) -> None:
    """A program built from a module that replaces one of its own parts, which `go install` refuses."""
    found = json.loads(run("go", "mod", "download", "-json", part.source, cwd=PROVIDERS))
    source = folder / "source"
    shutil.copytree(found["Dir"], source, copy_function=shutil.copyfile)
    # The part that the repository holds beside it is a module of its own, and not in this one's archive.
    run("go", "mod", "edit", f"-dropreplace={DEX_API[0]}", f"-require={'@'.join(DEX_API)}", cwd=source)
    environment = {"CGO_ENABLED": "1", "GOFLAGS": "-mod=mod -buildvcs=false"}
    run("go", "build", "-trimpath", "-o", str(folder / "dex"), "./cmd/dex", cwd=source, **environment)
    # The pages of its login form are all that it needs of its source.
    (source / "web").rename(folder / "web")
    shutil.rmtree(source)


def by_npm(part: Part, folder: Path) -> None:
    """A package and what it stands on, as the lock file says."""
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(OURS / part.name / name, folder / name)
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)


DEX_API = ("github.com/dexidp/dex/api/v2", "v2.2.0")

PARTS = {
    part.name: part
    for part in (
        Part("keycloak-20.0.5", "org.keycloak:keycloak-quarkus-dist:20.0.5", by_maven, ("mvn", "java")),
        # The newest that Maven Central gives.
        Part("keycloak-26.7.5", "org.keycloak:keycloak-quarkus-dist:26.7.5", by_maven, ("mvn", "java")),
        # Version 2.41.1: its tags are not a module's versions, so that it is named by its commit.
        Part("dex", "github.com/dexidp/dex@v0.0.0-20240807174518-43956db7fd75", by_go, ("go", "gcc")),
        Part("oidc-provider", "oidc-provider 9.13.3", by_npm, ("npm", "node")),
    )
}


def main() -> int:
    """Make what was asked for; 1 with one clear line when something cannot be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)} (none: all)")
    names = parser.parse_args().names or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(PARTS)}")
    try:
        with one_at_a_time(PROVIDERS):
            for name in names:
                make(PARTS[name])
    except (Failed, NotHere) as fault:
        print(f"*** {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("*** stopped; what was half made is made anew by the next run", file=sys.stderr)
        return 130
    return 0


def make(part: Part) -> None:
    """One provider, where it is not there already."""
    stamp = part.folder / "made-from"
    wanted = digest(part)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    try:
        if missing := [program for program in part.needs if shutil.which(program) is None]:
            raise NotHere(f"{part.name} needs {' and '.join(missing)} on the PATH.")
        with told(f"Bringing {part.name} ({part.source})"):
            shutil.rmtree(part.folder, ignore_errors=True)
            part.folder.mkdir(parents=True)
            part.bring(part, part.folder)
    except (NotHere, Failed) as reason:
        shutil.rmtree(part.folder, ignore_errors=True)
        if os.environ.get("CI") == "true":
            raise
        print(f"Left out: {part.name}. {reason} What needs it is skipped.")
        return
    stamp.write_text(wanted)


def digest(part: Part) -> str:
    """What a stamp holds: another source or another way of bringing it is another stamp."""
    files = sorted((OURS / part.name).glob("package*.json")) + [Path(__file__)]
    return hashlib.sha256(
        b"\0".join([part.source.encode(), *(file.read_bytes() for file in files)])
    ).hexdigest()


def run(*command: str, cwd: Path = ROOT, **variables: str) -> str:
    """Run one command that must succeed; what it printed is its answer."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if command[1] != "mod" else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = (done.stdout + (done.stderr or "")).strip()[-2000:]
        raise Failed(f"This failed with exit status {done.returncode}: {' '.join(command)}\n{told}\n")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
