"""A flag that threads and event loops can wait for."""

import asyncio
import threading
from contextlib import suppress


class Flag:
    """Set once, by any thread; waited for by threads and by coroutines of any loop."""

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._event: threading.Event | None = None
        """Made for the first thread that waits: most flags are only looked at."""
        self._waiters: set[asyncio.Future[None]] = set()

    def set(self) -> None:
        with self._lock:
            self._is_set = True
            if self._event is not None:
                self._event.set()
            waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            # A loop that is closed meanwhile has nobody left to wake.
            with suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._is_set:
                return
            self._waiters.add(waiter)
        try:
            await waiter
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def wait_sync(self, timeout: float | None) -> bool:
        """Block this thread; False when ``timeout`` seconds passed first."""
        with self._lock:
            if self._is_set:
                return True
            event = self._event = self._event or threading.Event()
        return event.wait(timeout)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
