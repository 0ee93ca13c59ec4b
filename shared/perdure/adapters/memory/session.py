"""One process's connection to a store, which a crash can cut."""

import asyncio
from collections.abc import Callable

from perdure.ports.errors import Unavailable, UnknownOutcome


class Session:
    """Carries every call to the store and its answer back; each way passes through the loop."""

    def __init__(self) -> None:
        self.alive = True

    def cut(self) -> None:
        """The process died: nothing of it reaches the store any more, nor the other way round."""
        self.alive = False

    async def call[T](self, operation: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        if not self.alive:
            raise Unavailable("the connection to the store is cut: nothing was done")
        result = operation()
        await asyncio.sleep(0)
        if not self.alive:
            raise UnknownOutcome("the connection to the store was cut before the answer came")
        return result
