"""What is written of faults that anybody may cause as often as they like: one a minute, and how many more
there were.
"""

import threading
import time
from collections.abc import Callable

# Seconds between two that are written.
_PAUSE = 60.0


class Seldom:
    """One kind of line."""

    def __init__(self) -> None:
        """Nothing has been written yet."""
        self._lock = threading.Lock()
        self._next = 0.0
        self._left_out = 0

    def tell(self, write: Callable[..., None], words: str, *details: object) -> None:
        """Calls ``write`` as a method of a logger is called, or counts it for the next time."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                self._left_out += 1
                return
            self._next = now + _PAUSE
            left_out, self._left_out = self._left_out, 0
        if left_out:
            words = f"{words} (and {left_out} more before, without a line)"
        write(words, *details)
