"""Closed workflows leave the log after a grace: the log holds open workflows only.

The grace is longer than every window in which a late word could still arrive. A purge is bounded
by the closing record's sequence, so an id that was used again is safe; one that is lost with the
process costs space until the leftovers are swept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from perdure.core.durations import SECOND
from perdure.ports.addresses import Address
from perdure.ports.errors import PortError
from perdure.ports.log import EventLog

logger = logging.getLogger("perdure.scheduler")


class Purger:
    """Purges what is due, a few at a time."""

    def __init__(self, log: EventLog, *, grace: int, at_once: int = 8) -> None:
        self._log = log
        self._grace = grace / SECOND
        self._at_once = at_once
        self._due: deque[tuple[float, Address, int]] = deque()

    def later(self, address: Address, through: int) -> None:
        self._due.append((asyncio.get_running_loop().time() + self._grace, address, through))

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(1.0, self._due[0][0] - loop.time()) if self._due else 1.0)
            while self._due and self._due[0][0] <= loop.time():
                ready = min(self._at_once, len(self._due))
                batch = [
                    self._due.popleft() for _ in range(ready) if self._due[0][0] <= loop.time()
                ]
                await asyncio.gather(
                    *(self._purge(address, through) for _, address, through in batch)
                )

    async def _purge(self, address: Address, through: int) -> None:
        try:
            await self._log.purge(address, through)
        except PortError as error:
            logger.warning(
                "the closed log of %r was not purged yet: %s", address.workflow_id, error
            )
            self.later(address, through)
