"""Task queues: activity tasks on their way to workers."""

from collections.abc import Callable
from typing import Protocol

from perdure.ports.addresses import Stored, TaskKey
from perdure.ports.log import Subscription


class TaskDelivery(Protocol):
    """A task offered to one worker, held by a lease until settled."""

    @property
    def key(self) -> TaskKey: ...
    @property
    def message(self) -> Stored: ...
    @property
    def attempt(self) -> int:
        """How often this message was offered (1: the first time)."""
        ...

    @property
    def is_old(self) -> bool:
        """Whether it was queued before this consumption began, or began anew. A store that crashed
        may have forgotten that it offered such a task, or that it was settled."""
        ...

    def ack(self) -> None:
        """Take the task out of the queue. Only after what it led to is durable."""
        ...

    def extend(self) -> None: ...

    def nak(self, delay: int = 0) -> None: ...


class TaskQueue(Protocol):
    """At most one message per key; what replaces it makes words of earlier holders harmless."""

    async def offer(self, key: TaskKey, data: bytes, *, dedup: str = "") -> bool:
        """Queue a task; False when one of this key is queued or held. ``dedup`` as in
        :meth:`EventLog.append`: a known word has no effect (True, or False while its task is
        there)."""
        ...

    async def replace(self, key: TaskKey, data: bytes, *, seq: int) -> int:
        """Put ``data`` in the place of message ``seq``: offered anew, at once, to any worker.

        Settling the replaced delivery has no effect any more. Raises Conflict when the key's
        message is not ``seq`` (0: when there is one).
        """
        ...

    async def current(self, key: TaskKey) -> Stored | None:
        """The key's message, linearizable; None when the task is done."""
        ...

    async def remove(self, key: TaskKey) -> None:
        """Drop the key's task, held or not. Idempotent."""
        ...

    async def open(
        self, queue: str, on_delivery: Callable[[TaskDelivery], None], *, credit: int
    ) -> Subscription:
        """Offer the queue's tasks, at most ``credit`` unsettled at a time, shared among openers."""
        ...

    async def backlog(self, queue: str) -> int:
        """Tasks waiting that nobody holds."""
        ...


class Heartbeats(Protocol):
    """The newest progress of an activity, which outlives its worker."""

    async def beat(self, key: TaskKey, details: bytes) -> None: ...

    async def last(self, key: TaskKey) -> bytes | None: ...
