"""People and programs who ask again and again while something breaks, and what each of them was told."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import requests

# In the JSON for programs, and at the foot of a page.
_CODE = re.compile(r'"code": ?"(\w+)"|Code: (\w+)')

Act = Callable[[], str]


@dataclass(frozen=True)
class Told:
    """One answer: who asked, when (`time.monotonic`), and what it was, such as `503 provider_pending`."""

    who: str
    began: float
    ended: float
    what: str


class Actors:
    """Each of them asks, waits a moment and asks again, for the time of a `with`."""

    def __init__(self, pause: float = 0.1) -> None:
        self.told: list[Told] = []
        self._pause = pause
        self._acts: list[tuple[str, Act]] = []
        self._lock = threading.Lock()

    def add(self, who: str, act: Act) -> None:
        self._acts.append((who, act))

    @contextmanager
    def acting(self) -> Iterator[None]:
        ended = threading.Event()
        with ThreadPoolExecutor(len(self._acts)) as pool:
            running = [pool.submit(self._again_and_again, who, act, ended) for who, act in self._acts]
            try:
                yield
            finally:
                ended.set()
                for future in running:
                    future.result()

    def _again_and_again(self, who: str, act: Act, ended: threading.Event) -> None:
        while not ended.is_set():
            began = time.monotonic()
            try:
                what = act()
            except requests.RequestException as fault:
                what = type(fault).__name__
            with self._lock:
                self.told.append(Told(who, began, time.monotonic(), what))
            ended.wait(self._pause)

    def counts(self, who: str) -> Counter[str]:
        return Counter(told.what for told in self.told if told.who == who)

    def all_counts(self) -> dict[str, Counter[str]]:
        return {who: self.counts(who) for who, _ in self._acts}

    def healed(self, since: float, good: str = "200") -> float:
        """Seconds after `since` (`time.monotonic`) from which on nobody was told anything else."""
        bad = [told.ended for told in self.told if told.what != good and told.ended > since]
        return max(bad, default=since) - since


def told_by(answer: requests.Response) -> str:
    """The status, and our code where there is one."""
    code = _CODE.search(answer.text) if answer.status_code >= 400 else None
    if code is None:
        return str(answer.status_code)
    return f"{answer.status_code} {next(filter(None, code.groups()))}"
