"""Keeps every held task alive from one place.

A delivery that goes a lease without a word is offered to somebody else. All held ones are extended
every third of a lease. Who missed its own lease by the monotonic clock (the loop stood still) must
take it that another worker has the task: it stops, and neither acknowledges nor refuses.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from perdure.core.durations import SECOND
from perdure.ports.addresses import Stored, TaskKey
from perdure.ports.tasks import TaskDelivery

_ROUNDS_PER_LEASE: Final = 3
_TRUSTED: Final = 0.9
"""Part of a lease after which it counts as missed: it began before the delivery arrived here."""


class LeaseLost(Exception):
    """The lease of the task in hand ran out: whoever holds it now decides."""


class Held:
    """A delivery in our hands. ``on_lost`` is called once when its lease is missed."""

    def __init__(self, delivery: TaskDelivery, keeper: "LeaseKeeper") -> None:
        self.delivery = delivery
        self.lost = False
        self.on_lost: Callable[[], None] | None = None
        self.extended_at = asyncio.get_running_loop().time()
        self._keeper = keeper

    @property
    def key(self) -> TaskKey:
        return self.delivery.key

    @property
    def message(self) -> Stored:
        return self.delivery.message

    @property
    def attempt(self) -> int:
        """How often this message was offered."""
        return self.delivery.attempt

    @property
    def is_old(self) -> bool:
        return self.delivery.is_old

    def check(self) -> None:
        """Raises LeaseLost."""
        if self.lost:
            raise LeaseLost(f"the lease of task {self.message.seq} ran out")

    def ack(self) -> None:
        """Done: what it led to is durable, or it counts no more."""
        self._keeper.let_go(self)
        self.delivery.ack()

    def nak(self, delay: int = 0) -> None:
        self._keeper.let_go(self)
        self.delivery.nak(delay)

    def drop(self) -> None:
        """Say nothing: the lease runs out by itself."""
        self._keeper.let_go(self)


class LeaseKeeper:
    """All deliveries of one worker, by message; ``on_round`` is called after each round."""

    def __init__(self, lease: int, on_round: Callable[[], None]) -> None:
        self._lease = lease / SECOND
        self._on_round = on_round
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def take(self, delivery: TaskDelivery) -> Held | None:
        """Hold ``delivery``; None when its message is in our hands already: then only the way to
        settle it is new."""
        present = self._held.get(delivery.message.seq)
        if present is not None:
            # An older offer that comes late says nothing of the lease.
            if delivery.attempt >= present.delivery.attempt:
                present.delivery = delivery
                present.extended_at = asyncio.get_running_loop().time()
            return None
        held = self._held[delivery.message.seq] = Held(delivery, self)
        return held

    def let_go(self, held: Held) -> None:
        if self._held.get(held.message.seq) is held:
            del self._held[held.message.seq]

    async def run(self) -> None:
        """Extend for ever, every third of a lease."""
        while True:
            await asyncio.sleep(self._lease / _ROUNDS_PER_LEASE)
            self._extend_all()
            self._on_round()

    def _extend_all(self) -> None:
        now = asyncio.get_running_loop().time()
        for held in self:
            if now - held.extended_at > self._lease * _TRUSTED:
                self._lose(held)
            else:
                held.extended_at = now
                held.delivery.extend()

    def _lose(self, held: Held) -> None:
        self.let_go(held)
        held.lost = True
        if held.on_lost is not None:
            held.on_lost()
