"""SIGINT and SIGTERM for programs that only work: the first asks to stop, the second insists.

Signals that the program handles itself stay its own.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Protocol
from weakref import WeakKeyDictionary

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

type _Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class Interruptible(Protocol):
    """What wants to know."""

    def interrupt(self) -> None:
        """Called in the loop, once for each signal."""
        ...


class _Listeners:
    """Those of one loop; the handlers are there while there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Interruptible] = []
        self._before: dict[signal.Signals, _Handler] = {}

    def add(self, one: Interruptible) -> None:
        if not self._waiting:
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if _is_default(before):
                    self._loop.add_signal_handler(number, self._heard)
                    self._before[number] = before
        self._waiting.append(one)

    def remove(self, one: Interruptible) -> None:
        self._waiting.remove(one)
        if not self._waiting:
            for number, before in self._before.items():
                self._loop.remove_signal_handler(number)
                signal.signal(number, before)
            self._before.clear()

    def _heard(self) -> None:
        for one in list(self._waiting):
            one.interrupt()


_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, _Listeners] = WeakKeyDictionary()


@contextmanager
def listening(one: Interruptible) -> Generator[None]:
    """Call ``one.interrupt`` for signals meanwhile; without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    listeners = _listeners.get(loop)
    if listeners is None:
        listeners = _listeners[loop] = _Listeners(loop)
    try:
        listeners.add(one)
    except (NotImplementedError, RuntimeError, ValueError):
        # A platform or a loop without signal handlers: then the program is ended as ever.
        yield
        return
    try:
        yield
    finally:
        listeners.remove(one)


def _is_default(handler: _Handler) -> bool:
    """Whether nobody but Python and asyncio's runner asked for the signal."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    function = getattr(handler, "func", handler)
    return isinstance(getattr(function, "__self__", None), asyncio.Runner)
