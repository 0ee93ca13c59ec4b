"""An event loop whose time is virtual: it never waits, it jumps to the next deadline.

A program that only awaits timers, futures and in-process adapters runs as fast as it computes, and
always in the same order: a day of ``asyncio.sleep`` costs microseconds. There are no threads and no
sockets: functions given to an executor run inline, and network transports are not implemented.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from perdure.core.durations import nanoseconds

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When a virtual world begins unless told otherwise."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VirtualTimeError(RuntimeError):
    """The program cannot go on in virtual time; the text names the tasks that wait."""


class Deadlock(VirtualTimeError):
    """Nothing is ready and no deadline is set: no time that may pass would change anything."""


class TimeLimitExceeded(VirtualTimeError):
    """The program's virtual time went beyond the limit given."""


class _NextDeadline:
    """Stands where a loop keeps its selector: instead of waiting, it moves the clock."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        self._advance = advance

    def select(self, timeout: float | None) -> list[object]:
        self._advance(timeout)
        return []


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """A loop that begins at ``start`` and at loop time zero."""

    def __init__(self, start: datetime = START, *, limit: timedelta | None = None) -> None:
        super().__init__()
        if start.tzinfo is None:
            # An open loop would complain when it is collected.
            self.close()
            raise ValueError("start must be an aware datetime, e.g. with tzinfo=UTC")
        self.epoch: int = nanoseconds(start - _EPOCH)
        """The instant at loop time zero, in nanoseconds; in-process stores count from it."""
        self._elapsed = 0
        self._limit = None if limit is None else nanoseconds(limit)
        self._selector = _NextDeadline(self._advance)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._elapsed / 1e9

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise Deadlock(f"nothing is ready and no deadline is set. {waiting_tasks(self)}")
        if timeout <= 0:
            return
        self._elapsed += max(1, round(timeout * 1e9))
        # Far from zero a float can't hold a nanosecond: the loop must still see deadlines as met.
        self._clock_resolution = max(1e-9, math.ulp(self.time()))
        if self._limit is not None and self._elapsed > self._limit:
            limit, self._limit = self._limit, None
            raise TimeLimitExceeded(
                f"still running after {limit / 1e9:g} s of virtual time. {waiting_tasks(self)}"
            )

    def run_in_executor(
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run ``func`` in this thread, at the loop's next turn: the same order every time."""
        future: asyncio.Future[Any] = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - whatever it raises belongs to the future
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(call)
        return future

    def _process_events(self, event_list: list[object]) -> None:
        """There are no sockets, hence no events."""

    def _write_to_self(self) -> None:
        """There is nobody asleep to wake."""


def run[T](
    coro: Coroutine[Any, Any, T],
    *,
    start: datetime = START,
    limit: timedelta | None = None,
) -> T:
    """Run ``coro`` in virtual time from ``start`` on; what :func:`asyncio.run` is in real time.

    Raises:
        Deadlock: nothing is ready and no deadline is set.
        TimeLimitExceeded: it still runs when ``limit`` of virtual time has passed.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start, limit=limit)) as runner:
        return runner.run(coro)


def waiting_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """One line per task that is not done: its name and where it stands."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    if not tasks:
        return "No task is pending."
    lines = [f"  {task.get_name()}: {_place_of(task)}" for task in tasks]
    return "\n".join([f"{len(tasks)} pending:", *lines])


def _place_of(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    chain: list[str] = []
    # From the task's own coroutine down to what it awaits at the bottom.
    while coroutine is not None and (frame := getattr(coroutine, "cr_frame", None)) is not None:
        chain.append(f"{coroutine.__qualname__} (line {frame.f_lineno})")
        coroutine = getattr(coroutine, "cr_await", None)
    return " > ".join(chain) or repr(coroutine)
