"""The deterministic event loop that workflow code runs on. The only room of the core that imports
asyncio.

It is asyncio's own Task and Future on a queue of ours: callbacks run first in, first out, until
none is ready. Nothing here waits. Time is the log's; a ``call_later`` becomes a durable timer by
way of ``on_timer``. Tasks and futures hash by their number, not their address, so that asyncio's
own sets of them (TaskGroup, ``wait``) iterate alike in every process.

Whatever would leave the workflow (threads, sockets, subprocesses, signals) raises an error that
says what to use instead.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NoReturn
from weakref import WeakSet

from perdure.core.durations import MILLISECOND, SECOND
from perdure.core.host import Host

TaskCancelled = asyncio.CancelledError
Future = asyncio.Future


class _NumberedFuture(asyncio.Future[Any]):
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._number = number

    def __hash__(self) -> int:
        return self._number


class _NumberedTask(asyncio.Task[Any]):
    def __init__(self, coro: Coroutine[Any, Any, Any], number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class TimerHandle(asyncio.TimerHandle):
    """What ``call_later`` returns; ``timer`` is the number of the durable timer behind it."""

    timer: int = 0


class WorkflowLoop(asyncio.AbstractEventLoop):
    """One run's loop. ``on_timer(handle, duration)`` starts a durable timer and returns its number,
    ``on_timer_cancelled(number)`` takes it back."""

    def __init__(
        self,
        host: Host,
        *,
        on_timer: Callable[[TimerHandle, int], int],
        on_timer_cancelled: Callable[[int], None],
        on_unhandled: Callable[[dict[str, Any]], None],
    ) -> None:
        self.perdure_host = host
        self._on_timer = on_timer
        self._on_timer_cancelled = on_timer_cancelled
        self._on_unhandled = on_unhandled
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: WeakSet[_NumberedTask] = WeakSet()
        self._numbers = 0
        self._closing = False

    def run_ready(self) -> None:
        """Run callbacks until nothing is ready."""
        ready = self._ready
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while ready:
                handle = ready.popleft()
                if not handle.cancelled():
                    self._run_one(handle)
        finally:
            events._set_running_loop(outer)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args)`` as workflow code: with this loop running, outside any task."""
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            return function(*args)
        finally:
            events._set_running_loop(outer)

    def dispose(self) -> None:
        """End every coroutine of the run. Their ``finally`` blocks see a host that is gone."""
        self._closing = True
        self._ready.clear()
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for task in list(self._tasks):
                coroutine = task.get_coro()
                if not task.done() and coroutine is not None:
                    _close_quietly(coroutine)
        finally:
            self._ready.clear()
            events._set_running_loop(outer)

    @staticmethod
    def _run_one(handle: asyncio.Handle) -> None:
        try:
            handle._run()
        except (SystemExit, KeyboardInterrupt):
            # The task holds the exception already; user code may not end the process.
            return

    # asyncio's contract, as far as workflow code needs it

    def time(self) -> float:
        return self.perdure_host.now() / SECOND

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._closing:
            self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self._timer(int(delay * SECOND), callback, args, context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        # A float of seconds since the epoch holds no nanoseconds: whole milliseconds it is.
        duration = round((when - self.time()) * 1000) * MILLISECOND
        return self._timer(duration, callback, args, context)

    def _timer(
        self,
        duration: int,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> asyncio.TimerHandle:
        when = self.time() + max(duration, 0) / SECOND
        handle = TimerHandle(when, callback, args, self, context)
        if duration <= 0:
            if not self._closing:
                self._ready.append(handle)
        else:
            handle.timer = self._on_timer(handle, duration)
        return handle

    def timer_is_due(self, handle: asyncio.Handle) -> None:
        """The durable timer behind ``handle`` fired."""
        if not handle.cancelled():
            self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, TimerHandle) and handle.timer and not self._closing:
            self._on_timer_cancelled(handle.timer)

    def create_future(self) -> asyncio.Future[Any]:
        self._numbers += 1
        return _NumberedFuture(self._numbers, loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        if self._closing:
            coro.close()
            raise RuntimeError("this workflow run is being dropped from memory")
        self._numbers += 1
        number = self._numbers
        task = _NumberedTask(
            coro, number, loop=self, name=name or f"task-{number}", context=context, **options
        )
        self._tasks.add(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> None:
        return None

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closing:
            self._on_unhandled(context)

    # what workflow code may not do

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._refuse("threads and executors")

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        self._refuse("other threads")

    def run_until_complete(self, future: Any) -> Any:
        self._refuse("running an event loop")

    def run_forever(self) -> None:
        self._refuse("running an event loop")

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        self._refuse("the network")

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        self._refuse("the network")

    async def create_server(self, *args: Any, **options: Any) -> Any:
        self._refuse("the network")

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        self._refuse("subprocesses")

    async def subprocess_shell(self, *args: Any, **options: Any) -> Any:
        self._refuse("subprocesses")

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> Any:
        self._refuse("signal handlers")

    def _refuse(self, what: str) -> NoReturn:
        raise NotImplementedError(
            f"{what} cannot be used in workflow code: it would differ on replay. "
            "Do it in an activity and await workflow.execute_activity(...)."
        )


def _close_quietly(coroutine: Any) -> None:
    """Close a coroutine whatever its code does about it."""
    try:
        coroutine.close()
    except BaseException as error:  # noqa: BLE001
        # A dropped instance decides nothing any more: what its cleanup raises has no reader.
        del error
