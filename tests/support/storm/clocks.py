"""Clocks that step, as those of a replicated store do when another server leads it."""

from __future__ import annotations

import asyncio
import random

from perdure.adapters.memory.backend import MemoryStore
from perdure.core.durations import MILLISECOND

FURTHEST = 2_500 * MILLISECOND
"""How far the clocks of two leaders are from the true time, each."""


class LeaderClock:
    """The clock of whoever leads the store: a step gives the store another time."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        self._time = store._server.time
        self._draws = random.Random(seed)
        self._off = 0
        self.steps = 0

    def step(self) -> None:
        off = self._draws.choice((0, self._draws.randint(-FURTHEST, FURTHEST)))
        self._time.loop()
        self._time._zero += off - self._off
        self._off = off
        self.steps += 1

    def settle(self) -> None:
        """Back to the true time."""
        self._time._zero -= self._off
        self._off = 0


class ProcessClock:
    """Stream time as the port has it: the newest timestamp seen plus the time since, which a step
    back of the store leaves ahead of the store's own."""

    def __init__(self, store: MemoryStore) -> None:
        self._newest = store.now
        self._seen_at = _elapsed()

    def now(self) -> int:
        return self._newest + _elapsed() - self._seen_at

    def observe(self, timestamp: int) -> None:
        if timestamp > self.now():
            self._newest, self._seen_at = timestamp, _elapsed()


def _elapsed() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


__all__ = ["FURTHEST", "LeaderClock", "ProcessClock"]
