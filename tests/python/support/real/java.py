"""A Java of this machine that a provider can run on."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

JVMS = Path("/usr/lib/jvm")


def home(oldest: int, newest: int) -> Path | None:
    """The `JAVA_HOME` of the first Java from `oldest` to `newest`: JAVA_HOME, the PATH, then /usr/lib/jvm."""
    for java in _found():
        if oldest <= (_feature(java) or 0) <= newest:
            return java.parent.parent
    return None


def _found() -> Iterator[Path]:
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve()
    yield from sorted(JVMS.glob("*/bin/java"))


@functools.cache
def _feature(java: Path) -> int | None:
    """17 for 17.0.15; nothing where it does not run. Java 8 calls itself 1.8 and is too old for all."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else None
