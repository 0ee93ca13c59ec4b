"""Says a thing to the store until it has an answer, for as long as the task is ours."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from perdure.engine.activities.leases import Held
from perdure.ports.errors import StoreFull, Unavailable, UnknownOutcome

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_logger = logging.getLogger("perdure.activities")


async def insist[T](held: Held, what: str, call: Callable[[], Awaitable[T]]) -> T:
    """The answer of ``call``, which may be made again without harm.

    Waits out a store that is away or full. Raises LeaseLost once the task is somebody else's.
    """
    pause = _FIRST_PAUSE
    while True:
        held.check()
        try:
            return await call()
        except (Unavailable, UnknownOutcome, StoreFull) as error:
            if pause == _FIRST_PAUSE:
                _logger.warning("could not %s yet, trying again: %s", what, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
