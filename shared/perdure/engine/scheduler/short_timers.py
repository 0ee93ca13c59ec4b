"""Timers due within a second, watched in memory: the store fires those a quarter second late.

Firing is an append that disarms the store's own timer in the same step, so exactly one of the two
appends; where a replicated store lets both through, the core drops the second.

Whoever is asked to watch a timer that it has fired was ahead of the store's clock, and would fire it
early again and again: such a timer is the store's own.
"""

from __future__ import annotations

import asyncio

from perdure.core.durations import SECOND
from perdure.ports.addresses import TimerKey
from perdure.ports.clock import Clock
from perdure.ports.errors import PortError
from perdure.ports.timers import Timers

_REMEMBERED = 4_096


class ShortTimers:
    """Fires armed timers at their due time while this process lives; the store does otherwise."""

    def __init__(self, timers: Timers, clock: Clock) -> None:
        self._timers = timers
        self._clock = clock
        self._waiting: dict[TimerKey, asyncio.TimerHandle] = {}
        self._firing: set[asyncio.Task[None]] = set()
        self._fired: dict[TimerKey, None] = {}
        """The newest ones. A dict for want of an ordered set."""

    def watch(self, key: TimerKey, due: int, fired: bytes, *, armed: int) -> None:
        if key in self._fired:
            return
        loop = asyncio.get_running_loop()
        delay = max(0, due - self._clock.now()) / SECOND
        self._waiting[key] = loop.call_later(delay, self._due, key, due, fired, armed)

    def forget(self, key: TimerKey) -> None:
        handle = self._waiting.pop(key, None)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        for handle in self._waiting.values():
            handle.cancel()
        self._waiting.clear()
        for task in self._firing:
            task.cancel()

    def _due(self, key: TimerKey, due: int, fired: bytes, armed: int) -> None:
        if self._clock.now() < due:
            # The process's timer and the log's clock differ by their grain: never early.
            self.watch(key, due, fired, armed=armed)
            return
        self._waiting.pop(key, None)
        self._fired[key] = None
        if len(self._fired) > _REMEMBERED:
            del self._fired[next(iter(self._fired))]
        task = asyncio.get_running_loop().create_task(self._fire(key, fired, armed))
        self._firing.add(task)
        task.add_done_callback(self._firing.discard)

    async def _fire(self, key: TimerKey, fired: bytes, armed: int) -> None:
        try:
            await self._timers.fire(key, fired, armed=armed)
        except PortError:
            # The store's own timer still stands, or the fire went through: both are right.
            return
