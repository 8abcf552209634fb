"""Tells valgrind's callgrind, from inside the program it runs, when to count.

A client request is a sequence of instructions that does nothing on a processor and that valgrind knows
(valgrind.h, "client requests"). Python cannot write it down, so it stands here in machine code, for x86-64.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Callable

# The address of the request into rax, what is answered outside valgrind into rdx; then four turns of rdi that
# add up to none, and the exchange that valgrind waits for; the answer back into rax.
_CODE = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_TOOL = (ord("C") << 24) | (ord("T") << 16)
_ZERO, _DUMP_AT, _START, _STOP, _RUNNING_ON_VALGRIND = _TOOL + 1, _TOOL + 3, _TOOL + 4, _TOOL + 5, 0x1001


class Marks:
    """Counts what is inside `count`, all threads together."""

    def __init__(self) -> None:
        if platform.machine() != "x86_64":
            raise OSError(f"the marks for callgrind are written for x86-64, not {platform.machine()}")
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._memory.write(_CODE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)
        if not self._ask(_RUNNING_ON_VALGRIND):
            raise OSError("this is not run by valgrind")

    def _ask(self, request: int, argument: int = 0) -> int:
        told = (ctypes.c_uint64 * 6)(request, argument, 0, 0, 0, 0)
        return int(self._call(ctypes.addressof(told)))

    def count(self, name: str, work: Callable[[], None]) -> None:
        """Counts `work`; valgrind writes the number into a file of its own, with the name in it."""
        text = ctypes.create_string_buffer(name.encode())
        self._ask(_START)
        self._ask(_ZERO)
        work()
        self._ask(_DUMP_AT, ctypes.addressof(text))
        self._ask(_STOP)
