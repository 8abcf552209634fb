"""Processes of Linux: who listens on a port, and how a whole group of them is ended for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


def end_group(leader: subprocess.Popen[bytes], grace: float = 5) -> None:
    """SIGTERM, a moment, SIGKILL: to every process of the session, also those whose parent is gone."""
    for sign, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        members = _session_members(leader.pid)
        for pid in members:
            _signal(pid, signal.SIGCONT)
            _signal(pid, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            leader.poll()
            if not _session_members(leader.pid):
                leader.wait()
                return
            time.sleep(0.05)
    raise AssertionError(f"processes {_session_members(leader.pid)} do not end")


def kill_group(leader: subprocess.Popen[bytes]) -> None:
    """SIGKILL to every process of the session, its leader first: it would start others in their place."""
    deadline = time.monotonic() + 10
    while members := _session_members(leader.pid):
        for pid in sorted(members, key=lambda pid: pid != leader.pid):
            _signal(pid, signal.SIGKILL)
        assert time.monotonic() < deadline, f"processes {members} do not end"
        time.sleep(0.01)
    leader.wait()


def listeners(port: int) -> list[int]:
    """The processes that take requests on a port: those that hold its socket and have no child that does.

    A master holds the listening socket too, but only the workers at the end of the tree accept from it.
    """
    inodes = _listening_inodes(port)
    holders = [pid for pid in _pids() if _sockets(pid) & inodes]
    parents = {_parent(pid) for pid in holders}
    return sorted(pid for pid in holders if pid not in parents)


def connections(port: int) -> set[str]:
    """The other ends of the connections to a port of this machine, also of those that have just ended."""
    ends = set()
    for line in _sockets_of_the_machine():
        _, local, remote, state, *_ = line.split()
        if state != "0A" and int(local.rpartition(":")[2], 16) == port:
            ends.add(remote)
        if int(remote.rpartition(":")[2], 16) == port:
            ends.add(local)
    return ends


def _signal(pid: int, sign: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, process group, session, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _session_members(leader: int) -> list[int]:
    members = []
    for pid in _pids():
        fields = _stat(pid)
        if fields and fields[0] != "Z" and int(fields[3]) == leader:
            members.append(pid)
    return members


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for line in _sockets_of_the_machine():
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _sockets_of_the_machine() -> list[str]:
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    return [line for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(os.readlink(entry))
            except OSError:
                continue
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        pass
    return found
