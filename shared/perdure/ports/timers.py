"""Durable timers: the store itself appends the fired event to the workflow's ENGINE lane."""

from collections.abc import AsyncIterator
from typing import Protocol

from perdure.ports.addresses import TimerKey


class Timers(Protocol):
    async def arm(self, key: TimerKey, due: int, fired: bytes) -> int:
        """Append ``fired`` to the ENGINE lane at ``due`` (stream time), not earlier, whether or not
        any process runs then; a due time in the past fires at once.

        Returns the armed timer's handle for :meth:`fire`. Raises AlreadyExists when the key is armed.
        """
        ...

    async def fire(self, key: TimerKey, fired: bytes, *, armed: int) -> bool:
        """Append ``fired`` now and disarm, in one step; False, without effect, when the timer is
        no longer armed as ``armed``. Within a moment of the due time it may happen beside the
        store's own firing: events have identities."""
        ...

    async def cancel(self, key: TimerKey) -> None:
        """Disarm; a timer that fired already stays fired. Idempotent."""
        ...

    def overdue(self, before: int) -> AsyncIterator[TimerKey]:
        """Timers still armed that were due before ``before``: a store that was full or failed can
        leave one stuck."""
        ...

    async def rearm(self, key: TimerKey) -> None:
        """Free a stuck timer by arming it again as it was. Without effect when it is gone."""
        ...
