"""The guard at the doors for new workflows: closed while the store is nearly full.

What runs must be able to go on and to end, so the last part of the store is kept for it. Above the
threshold nothing new is begun; the guard opens again once enough has gone, not at the first byte.
Where nobody knows how large the store is, its own refusal closes the guard for a while.
"""

import asyncio
import logging
import math
from typing import Final

from perdure.ports.backend import Backend
from perdure.ports.capacity import Usage
from perdure.ports.errors import PortError

_BEAT: Final = 5.0
_BEAT_NEAR: Final = 0.5
"""How old a figure may be when little is missing to the threshold: a burst fills a store quickly."""
_NEAR: Final = 0.15
_MARGIN: Final = 0.05
"""The guard opens again so much below the threshold."""
_PATIENCE: Final = 2.0
_FIRST_REST: Final = 10.0
_LONGEST_REST: Final = 60.0

_logger = logging.getLogger("perdure.admission")


class Admission:
    """Whether new workflows may begin, by figures that are a few seconds old at most."""

    def __init__(self, backend: Backend) -> None:
        self._capacity = backend.capacity
        self._close_at = backend.store_threshold
        self._open_at = backend.store_threshold - _MARGIN
        self._look_again_at = 0.0
        self._looking = asyncio.Lock()
        self._is_closed = False
        self._usage = Usage(0)
        self._rest = _FIRST_REST
        self._rest_until = -math.inf
        self._used_when_full = 0

    @property
    def usage(self) -> Usage:
        """What was seen last."""
        return self._usage

    @property
    def is_open(self) -> bool:
        """Whether something new may begin, by figures that are fresh: nobody has to be asked."""
        return not self._is_closed and self._now() < self._look_again_at

    async def refusal(self) -> str:
        """Why nothing new may begin, for people; empty when it may."""
        if self._now() >= self._look_again_at:
            async with self._looking:
                if self._now() >= self._look_again_at:
                    await self._look()
        if not self._is_closed:
            return ""
        return (
            f"the store is {self._filled()} and no new workflow is started, so that those under "
            "way can go on. Make room or give it more, then try again."
        )

    def met_full(self) -> None:
        """The store itself refused for want of space."""
        now = self._now()
        if self._rest_until > now:
            return
        again = now < self._rest_until + 2 * self._rest
        self._rest = min(self._rest * 2, _LONGEST_REST) if again else _FIRST_REST
        self._rest_until = now + self._rest
        self._used_when_full = self._usage.used
        self._look_again_at = 0.0
        self._close(closed=True)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                self._usage = await self._capacity.usage()
        except (PortError, TimeoutError) as error:
            # The request itself will find out whether the store is there.
            _logger.debug("the store does not say how full it is: %r", error)
        self._close(closed=self._must_close())
        near = self._is_closed or self._usage.part > self._close_at - _NEAR
        self._look_again_at = self._now() + (_BEAT_NEAR if near else _BEAT)

    def _must_close(self) -> bool:
        usage = self._usage
        if usage.part >= (self._open_at if self._is_closed else self._close_at):
            return True
        has_emptied = usage.used < self._used_when_full * (1 - _MARGIN)
        return self._now() < self._rest_until and not has_emptied

    def _close(self, *, closed: bool) -> None:
        if closed and not self._is_closed:
            # Whoever asks is told; for those who only watch, their watch says it louder.
            _logger.info("the store is %s: no new workflow is admitted", self._filled())
        elif self._is_closed and not closed:
            _logger.info("the store has room again: new workflows are admitted")
        self._is_closed = closed

    def _filled(self) -> str:
        if not self._usage.limit:
            return "full"
        return f"{self._usage.part:.0%} full ({self._usage.used} of {self._usage.limit} bytes)"

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
