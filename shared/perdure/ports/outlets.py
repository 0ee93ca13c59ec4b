"""What leaves the engine: events that other services react to, and letters that could not be
delivered."""

from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Protocol

from perdure.ports.addresses import Stored


class Announcements(Protocol):
    def announce(
        self, workflow_type: str, workflow_id: str, data: bytes, *, dedup: str
    ) -> Coroutine[Any, Any, None]:
        """Publish a workflow's start or close for everyone, at least once. It may be on its way
        before it is awaited."""
        ...


class DeadLetters(Protocol):
    """Nothing is lost: what can't be processed waits here with its reason, and can be replayed."""

    async def put(self, kind: str, workflow_id: str, data: bytes, *, dedup: str) -> None:
        """``kind`` is one word: activity, signal, start, cancel, event."""
        ...

    def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        """Letters with sequences above ``after``, oldest first."""
        ...

    async def remove(self, seq: int) -> None: ...


class Replies(Protocol):
    async def reply(self, to: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send an outcome to a subject that a request named; at most once."""
        ...
