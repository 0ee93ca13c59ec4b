"""The store's clock and alarm: the running loop's time, counted in nanoseconds since the epoch."""

import asyncio
import contextvars
import math
import time
from collections.abc import Callable


class Alarm:
    """A callback that runs once its time has come and not a nanosecond earlier."""

    def __init__(self, clock: "StreamTime", due: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._due = due
        self._callback = callback
        self._handle: asyncio.Handle = clock.call_at(due, self._ring)

    def _ring(self) -> None:
        # A loop may run a callback as early as its clock's resolution.
        if self._clock.now() < self._due:
            self._handle = self._clock.call_at(self._due, self._ring)
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()


class StreamTime:
    """Stream time of one store, which belongs to the loop that first asks for it.

    ``epoch`` is the stream time at which the loop's clock reads zero. None takes it from the loop
    (a virtual loop has one) or else from the wall clock.
    """

    def __init__(self, epoch: int | None) -> None:
        self._epoch = epoch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._zero = 0

    def loop(self) -> asyncio.AbstractEventLoop:
        running = asyncio.get_running_loop()
        if running is not self._loop:
            if self._loop is not None:
                raise RuntimeError(
                    "this memory store belongs to another event loop: its leases and timers run "
                    "there; make one store per loop"
                )
            self._loop = running
            self._zero = self._epoch if self._epoch is not None else _epoch_of(running)
        return running

    def now(self) -> int:
        return self.loop_time(self.loop())

    def loop_time(self, loop: asyncio.AbstractEventLoop) -> int:
        return self._zero + round(loop.time() * 1e9)

    def call_soon(
        self, callback: Callable[[], None], *, context: contextvars.Context | None = None
    ) -> None:
        # Without a context of its own a callback would inherit that of whoever happened to write.
        self.loop().call_soon(callback, context=context or contextvars.Context())

    def call_at(self, due: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        loop = self.loop()
        wanted = due - self._zero
        when = wanted / 1e9
        while round(when * 1e9) < wanted:
            when = math.nextafter(when, math.inf)
        return loop.call_at(when, callback, context=contextvars.Context())

    def alarm(self, due: int, callback: Callable[[], None]) -> Alarm:
        return Alarm(self, due, callback)


def _epoch_of(loop: asyncio.AbstractEventLoop) -> int:
    epoch: object = getattr(loop, "epoch", None)
    if isinstance(epoch, int):
        return epoch
    return time.time_ns() - round(loop.time() * 1e9)
