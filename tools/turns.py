"""What a tool that fills a folder under build/ needs: a turn of its own, and a line for whoever waits."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Two makes at once take turns, else one would remove what the other is filling."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def told(what: str) -> Iterator[None]:
    """One line before and one after, with the seconds."""
    print(f"{what} ...", flush=True)
    begin = time.monotonic()
    yield
    print(f"    done in {time.monotonic() - begin:.0f} s", flush=True)
