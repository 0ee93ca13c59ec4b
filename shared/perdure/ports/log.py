"""The log of workflows, and the inbox that the same stream is."""

from collections.abc import Callable, Sequence
from typing import Protocol

from perdure.ports.addresses import Address, Lane, Stored


class EventLog(Protocol):
    """Append and read one workflow's literal lanes."""

    async def append(self, to: Address, lane: Lane, data: bytes, *, dedup: str = "") -> int:
        """Append without condition; returns the sequence once it is durable.

        ``dedup`` makes an append of the same word within two minutes a success without effect
        (it then returns the first one's sequence).
        """
        ...

    async def commit(self, to: Address, data: bytes, *, after: int) -> int:
        """Append to HISTORY iff its newest message has sequence ``after`` (0: none).

        Exact under concurrent writers. Raises Conflict when it is not so, UnknownOutcome when the
        answer is lost or the store cannot tell.
        """
        ...

    async def tip(self, of: Address) -> Stored | None:
        """The newest HISTORY message, linearizable: never older than any acknowledged commit."""
        ...

    async def read(self, seqs: Sequence[int]) -> list[Stored | None]:
        """The messages of these sequences, in the order asked; None where one is gone. Pipelined."""
        ...

    async def following(
        self, of: Address, lane: Lane, after: int, limit: int = 256
    ) -> list[Stored]:
        """Up to ``limit`` messages of a lane with sequences above ``after``, oldest first; holds
        every message acknowledged before the call."""
        ...

    async def purge(self, of: Address, through: int) -> None:
        """Forget the messages of all lanes with sequences up to and including ``through``."""
        ...


class Delivery(Protocol):
    """One event offered to the owner of its partition. It is offered again, here or elsewhere,
    until acknowledged; ``attempt`` counts offers, and no decision may depend on it."""

    @property
    def address(self) -> Address: ...
    @property
    def lane(self) -> Lane: ...
    @property
    def message(self) -> Stored: ...
    @property
    def attempt(self) -> int: ...

    def ack(self) -> None:
        """Done with it. Not waited for: an acknowledgement that is lost means one more offer."""
        ...

    def extend(self) -> None:
        """Still working on it: starts its lease anew."""
        ...

    def nak(self, delay: int = 0) -> None:
        """Offer it again after ``delay``, to whoever asks then."""
        ...


class Subscription(Protocol):
    """A running consumption."""

    async def close(self) -> None:
        """Stop asking for more. Deliveries already handed over can still be settled; what was
        buffered and not handed over goes back at once. Idempotent."""
        ...


class Inbox(Protocol):
    """Events of a task queue's workflows, by partition."""

    async def open(
        self,
        queue: str,
        partition: int,
        on_delivery: Callable[[Delivery], None],
        *,
        credit: int,
        reclaim: bool = False,
    ) -> Subscription:
        """Offer the partition's events, each lane of each workflow in log order on first offer.

        At most ``credit`` deliveries are unsettled at a time. Two openers of one partition share
        its events. The place in the log survives everybody. ``on_delivery`` must not raise.
        ``reclaim``: what was offered to whoever is gone is offered again at once, as far as that can
        be had; its lease is not waited for.
        """
        ...
