"""Bounded waiting: deadlines over calls to ports, and the typed error when they pass.

A port says Unavailable, UnknownOutcome or nothing at all. Whoever asked gets an answer within the
time given, or an UnavailableError that says what was going on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from perdure.core.errors import StoreFullError, UnavailableError
from perdure.ports.errors import Closed, PortError, StoreFull, Unavailable, UnknownOutcome

DEFAULT_TIMEOUT: Final = 10.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_SILENT: Final = (
    "the store does not answer (is it running, reachable from here, and its disk not full?)"
)


class Deadline:
    """An instant of the running loop by which something must be answered. What only ``reads`` has
    no effect to warn of."""

    def __init__(self, timeout: float, what: str, *, reads: bool = False) -> None:
        self._at = asyncio.get_running_loop().time() + timeout
        self._timeout = timeout
        self._what = what
        self._reads = reads
        self._pause = _FIRST_PAUSE
        self.last_error: BaseException | None = None

    @property
    def remaining(self) -> float:
        return self._at - asyncio.get_running_loop().time()

    def error(self, cause: BaseException | None = None) -> UnavailableError:
        """What to raise when it is over."""
        cause = cause or self.last_error
        why = f": {cause}" if cause is not None and str(cause) else ""
        if isinstance(cause, Closed):
            text = f"could not {self._what}{why}. Connect anew."
        elif self._reads:
            text = f"could not {self._what} within {self._timeout:g} s{why}. Try again."
        else:
            text = (
                f"could not {self._what} within {self._timeout:g} s{why}. "
                "It may still take effect; the same request can be made again."
            )
        error = UnavailableError(text)
        error.__cause__ = cause
        return error

    async def pause(self, error: BaseException | None = None) -> None:
        """Wait a little, longer each time. Raises UnavailableError when there is no time left."""
        self.last_error = error or self.last_error
        if self.remaining <= 0 or isinstance(error, Closed):
            raise self.error()
        await asyncio.sleep(min(self._pause, self.remaining))
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def bound[T](self, call: Awaitable[T]) -> T:
        """One call, cut off at the deadline. A cut-off write has an unknown outcome."""
        scope = asyncio.timeout(max(self.remaining, 0))
        try:
            async with scope:
                return await call
        except TimeoutError as error:
            if scope.expired():
                raise self.error(self.last_error or Unavailable(_SILENT)) from error
            raise

    async def persist[T](self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that may be made again without harm, until the store has an answer."""
        while True:
            try:
                return await self.bound(call())
            except StoreFull as error:
                raise refused(error) from error
            except (Unavailable, UnknownOutcome) as error:
                await self.pause(error)


def refused(error: PortError) -> StoreFullError:
    """The typed error of a store that has no room."""
    return StoreFullError(
        f"the store is full and takes nothing new: {error}. Free space, then try again."
    )
