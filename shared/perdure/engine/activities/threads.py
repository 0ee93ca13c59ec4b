"""Functions that block run in threads: daemons, made when needed and kept for the next call.

A thread can't be stopped from outside: a call that ignores its cancellation is abandoned. Being
daemons, abandoned threads hold up neither other activities nor the end of the process.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Final

_IDLE: Final = 60.0
"""Seconds without work after which a thread ends."""


class DaemonThreads(Executor):
    """An executor without an upper limit: who submits limits the number of calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._made = 0
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - whatever it raises belongs to the future
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError("cannot run a function after shutdown")
            if self._idle > 0:
                self._idle -= 1
            else:
                self._start_thread()
            self._work.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end. ``wait`` waits for calls that still run."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._work.put(None)
        if wait:
            for thread in threads:
                thread.join()

    def _start_thread(self) -> None:
        self._made += 1
        thread = threading.Thread(
            target=self._serve, name=f"{self._name}-{self._made}", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work
            with self._lock:
                self._idle += 1
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self) -> Callable[[], None] | None:
        while True:
            try:
                return self._work.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    # A submit that counted on this thread has lowered the number by now.
                    if self._idle > 0:
                        self._idle -= 1
                        return None
