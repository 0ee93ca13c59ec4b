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
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, NoReturn, Protocol

from perdure.core.durations import MILLISECOND, SECOND
from perdure.core.errors import ReadOnlyContextError
from perdure.core.host import Host

# In asyncio since Python 3.12, without a public name.
_swap_current_task: Callable[[Any, Any], Any] = vars(asyncio.tasks)["_swap_current_task"]

TaskCancelled = asyncio.CancelledError
Future = asyncio.Future


class _NumberedFuture(asyncio.Future[Any]):
    __slots__ = ("_number",)

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._number = number

    def __hash__(self) -> int:
        return self._number


class _NumberedTask(asyncio.Task[Any]):
    __slots__ = ("_number",)

    def __init__(
        self, coro: Coroutine[Any, Any, Any], number: int, *, unseen: bool, **options: Any
    ) -> None:
        """``unseen``: no code of the run meets the task before it is made."""
        # Before Python 3.14 asyncio files all tasks of the process in one set, by the hash that
        # they have right now: there the equal numbers of thousands of runs would collide.
        self._number = object.__hash__(self) if unseen else number
        super().__init__(coro, **options)
        self._number = number

    def __hash__(self) -> int:
        return self._number


class _Handle(asyncio.Handle):
    """asyncio's own, made without asking the loop whether it debugs: four are made per event."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class TimerHandle(asyncio.TimerHandle):
    """What ``call_later`` returns; ``timer`` is the number of the durable timer behind it."""

    timer: int = 0


class LoopHost(Host, Protocol):
    """What the loop needs of the run that it belongs to."""

    def start_loop_timer(self, handle: TimerHandle, duration: int) -> int:
        """Start a durable timer; its number."""
        ...

    def cancel_loop_timer(self, n: int) -> None:
        """Take a durable timer back."""
        ...

    def on_unhandled(self, context: dict[str, Any]) -> None:
        """An exception that nobody awaited, as asyncio describes it."""
        ...


class WorkflowLoop(asyncio.AbstractEventLoop):
    """One run's loop."""

    def __init__(self, host: LoopHost) -> None:
        self.perdure_host = host
        self._ready: list[asyncio.Handle] = []
        # asyncio holds tasks weakly; one that only it knows would end whenever garbage is collected.
        self._tasks: dict[int, _NumberedTask] = {}
        self._numbers = 0
        self._refusal: Callable[[str], Exception] | None = None

    def run_ready(self) -> None:
        """Run callbacks until nothing is ready."""
        if not self._ready:
            return
        outer = self._enter()
        try:
            while self._ready:
                batch, self._ready = self._ready, []
                for handle in batch:
                    if handle._cancelled:
                        continue
                    try:
                        handle._run()
                    except (SystemExit, KeyboardInterrupt):
                        # The task holds the exception already; user code may not end the process.
                        continue
        finally:
            self._leave(outer)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args)`` as workflow code: with this loop running, outside any task."""
        outer = self._enter()
        try:
            return function(*args)
        finally:
            self._leave(outer)

    def look(self, function: Callable[..., Any], *args: Any) -> Any:
        """Like :meth:`call`, for a function that may change nothing."""
        before, self._refusal = self._refusal, _read_only
        numbers = self._numbers
        try:
            return self.call(function, *args)
        finally:
            self._refusal, self._numbers = before, numbers

    def must_be_open(self, action: str) -> None:
        """Raises ReadOnlyContextError in a query, RuntimeError once the run was dropped."""
        if self._refusal is not None:
            raise self._refusal(action)

    @property
    def is_read_only(self) -> bool:
        return self._refusal is _read_only

    @property
    def is_gone(self) -> bool:
        return self._refusal is _gone

    def dispose(self) -> None:
        """End every coroutine of the run. Their ``finally`` blocks see a host that is gone."""
        if self.is_gone:
            return
        self._refusal = _gone
        self._ready.clear()
        outer = self._enter()
        try:
            while self._tasks:
                task = self._tasks.pop(next(iter(self._tasks)))
                coroutine = task.get_coro()
                if not task.done() and coroutine is not None:
                    _close_quietly(coroutine)
        finally:
            self._leave(outer)
        # The host knows its loop: a run that ended is freed now, not when garbage is collected.
        del self.perdure_host

    def _enter(self) -> tuple[Any, Any]:
        """Become the running loop; returns what was, for :meth:`_leave`."""
        outer = events._get_running_loop()
        # Python 3.14 keeps one current task per thread, not per loop: the outer one steps back.
        task = None if outer is None else _swap_current_task(outer, None)
        events._set_running_loop(self)
        return outer, task

    @staticmethod
    def _leave(before: tuple[Any, Any]) -> None:
        outer, task = before
        events._set_running_loop(outer)
        if task is not None:
            _swap_current_task(outer, task)

    # asyncio's contract, as far as workflow code needs it

    def time(self) -> float:
        return self.perdure_host.now() / SECOND

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        if self._refusal is None:
            self._ready.append(handle)
        elif not self.is_gone:
            # A waiter woken by a query would decide what no replay decides.
            raise self._refusal("wake a task")
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
        self.must_be_open("start a timer")
        when = self.time() + max(duration, 0) / SECOND
        handle = TimerHandle(when, callback, args, self, context)
        if duration <= 0:
            self._ready.append(handle)
        else:
            handle.timer = self.perdure_host.start_loop_timer(handle, duration)
        return handle

    def timer_is_due(self, handle: asyncio.Handle) -> None:
        """The durable timer behind ``handle`` fired."""
        if not handle.cancelled():
            self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, TimerHandle) and handle.timer and not self.is_gone:
            self.perdure_host.cancel_loop_timer(handle.timer)

    def create_future(self) -> asyncio.Future[Any]:
        if self._refusal is not None:
            raise self._refusal("make a future")
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
        # Cleanup code of a dropped run may make tasks: they never begin, and end with it.
        if self._refusal is not None and not self.is_gone:
            coro.close()
            raise self._refusal("start a task")
        self._numbers += 1
        number = self._numbers
        task = _NumberedTask(
            coro,
            number,
            unseen=not options.get("eager_start"),
            loop=self,
            name=name or f"task-{number}",
            context=context,
            **options,
        )
        if not task.done():
            self._tasks[number] = task
            task.add_done_callback(self._task_is_done)
        return task

    def start_task(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task whose first step runs here and now. The caller keeps what resolves it, and with it
        the task; nothing of its code needs to run when the run is dropped."""
        self._numbers += 1
        return _NumberedTask(
            coro, self._numbers, unseen=True, loop=self, name=name, eager_start=True
        )

    def _task_is_done(self, task: Any) -> None:
        self._tasks.pop(task._number, None)

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
        if not self.is_gone:
            self.perdure_host.on_unhandled(context)

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


def _read_only(action: str) -> Exception:
    return ReadOnlyContextError(
        f"While in read-only function, action attempted: {action}. "
        "A query may only read the workflow's state."
    )


def _gone(action: str) -> Exception:
    return RuntimeError(f"cannot {action}: this workflow run is being dropped from memory")


_PATIENCE = 100
"""Awaits that a coroutine's cleanup may reach before it is left alone."""


class _Dropped(BaseException):
    """Raised inside the coroutines of a run that is dropped. (GeneratorExit would end an outer
    coroutine while an inner one still cleans up.)"""


def _close_quietly(coroutine: Any) -> None:
    """End a coroutine whatever its code does about it."""
    for _ in range(_PATIENCE):
        try:
            coroutine.throw(_Dropped())
        except BaseException:  # noqa: BLE001
            # A dropped instance decides nothing any more: what its cleanup raises has no reader.
            return
