"""CancelledError raised in the thread of a synchronous activity."""

import ctypes
import threading
from collections.abc import Generator
from contextlib import contextmanager

from perdure.core.errors import CancelledError


def _set_exception(thread: int, error: type[BaseException] | None) -> None:
    argument = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)


class ThreadCancellation:
    """Raises CancelledError once in the thread that is inside :meth:`running`.

    The exception arrives between two bytecodes: a thread that waits in C code gets it afterwards.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._shields = 0
        self._requested = False
        self._raised = False

    @contextmanager
    def running(self) -> Generator[None]:
        """The body runs the activity, in its thread; a cancellation after it raises nothing."""
        with self._lock:
            self._thread = threading.get_ident()
            if self._requested:
                self._raised = True
                self._thread = None
        if self._raised:
            raise CancelledError
        try:
            yield
        finally:
            with self._lock:
                thread, self._thread = self._thread, None
            if thread is not None and self._raised:
                # Set but not yet delivered, it would hit whatever the pool's thread does next.
                _set_exception(thread, None)

    def cancel(self) -> None:
        """Raise in the thread: now, when its shield ends, or when it begins. Thread-safe."""
        if self._raised:
            return
        with self._lock:
            self._requested = True
            if self._thread is not None and not self._shields:
                self._raised = True
                _set_exception(self._thread, CancelledError)

    @contextmanager
    def shield(self) -> Generator[None]:
        """Put a cancellation off to the end of the block."""
        with self._lock:
            self._shields += 1
        try:
            yield
        finally:
            with self._lock:
                self._shields -= 1
                due = self._requested and not self._raised and not self._shields
                if due:
                    self._raised = True
            if due:
                raise CancelledError
