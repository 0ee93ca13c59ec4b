"""STATE: one small entry per workflow id, by compare-and-set."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from perdure.ports.log import Subscription


class StateStore(Protocol):
    """Keys are workflow ids, any text. Values are encoded entries."""

    async def create(self, workflow_id: str, data: bytes) -> int:
        """The revision of the new entry. Raises AlreadyExists when there is one (an expired one is
        none)."""
        ...

    async def read(self, workflow_id: str) -> tuple[bytes, int] | None:
        """The entry and its revision, linearizable."""
        ...

    async def update(self, workflow_id: str, data: bytes, *, revision: int, ttl: int = 0) -> int:
        """Replace the entry iff its revision is ``revision``; the new revision. ``ttl`` > 0: the
        entry vanishes after it, leaving nothing. Raises Conflict."""
        ...

    async def watch(self, workflow_id: str, on_change: Callable[[bytes], None]) -> Subscription:
        """Call back with the entry after each write, promptly but not certainly: whoever waits also
        re-reads now and then. Nothing after the next :meth:`read` that is answered is left out."""
        ...

    def scan(self) -> AsyncIterator[tuple[bytes, int]]:
        """All entries and their revisions, in no order."""
        ...
