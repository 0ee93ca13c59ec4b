"""Requests in hand: in order and one at a time per workflow id, many ids at once.

Everything held keeps its lease, whether it is worked on or waits its turn. A request offered again
while it is held only brings the newer way to settle it. A lane that cannot go on is parked: what is
in it, and what comes for it, lies in the store and is not in hand, until the door is opened anew.
"""

import asyncio
import bisect
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from perdure.core.durations import MINUTE
from perdure.ports.ingress import IngressDelivery

_REMEMBERED: Final = 8_192
_PARKED_FOR: Final = 10 * MINUTE


class Parked(Exception):
    """A request has to wait for something that may take long: so does all that follows it."""


@dataclass(slots=True, eq=False)
class Held[T]:
    """A request until it is settled. ``since`` is the loop's time at which it came in hand."""

    delivery: IngressDelivery
    request: T
    since: float

    @property
    def seq(self) -> int:
        return self.delivery.message.seq


class Lanes[T]:
    """``read`` names a request's lane; ``handle`` does it, and returns when it may be settled or
    raises Parked."""

    def __init__(
        self,
        read: Callable[[IngressDelivery], tuple[str, T]],
        handle: Callable[[Held[T]], Awaitable[None]],
        *,
        lease: int,
    ) -> None:
        self._read = read
        self._handle = handle
        self._lease = lease / 1e9
        self._held: dict[int, Held[T]] = {}
        self._settled: dict[int, None] = {}
        self._lanes: dict[str, deque[Held[T]]] = {}
        self._parked: set[str] = set()
        self._working: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    def offer(self, delivery: IngressDelivery) -> None:
        """Take a request in hand."""
        seq = delivery.message.seq
        if self._closed:
            delivery.nak()
            return
        if seq in self._settled:
            delivery.ack()
            return
        if seq in self._held:
            self._held[seq].delivery = delivery
            return
        lane, request = self._read(delivery)
        if lane in self._parked:
            delivery.nak(_PARKED_FOR)
            return
        loop = asyncio.get_running_loop()
        held = Held(delivery, request, loop.time())
        self._held[seq] = held
        if self._keeper is None:
            self._keeper = loop.create_task(self._keep_leases())
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque([held])
            self._begin(lane)
        elif seq > waiting[-1].seq:
            waiting.append(held)
        else:
            self._insert(lane, held)

    def _begin(self, lane: str) -> None:
        task = asyncio.get_running_loop().create_task(self._run(lane))
        self._working[lane] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _insert(self, lane: str, held: Held[T]) -> None:
        """Offered after those that follow it: a server that gave up its lead had it on its way. What
        is under way may wait for just this one, so it is broken off."""
        waiting = self._lanes[lane]
        bisect.insort(waiting, held, key=lambda one: one.seq)
        if waiting[0] is held:
            self._working[lane].cancel()
            self._begin(lane)

    @property
    def has_parked(self) -> bool:
        """Whether something waits that only a door opened anew brings back."""
        return bool(self._parked)

    def is_oldest(self, held: Held[T]) -> bool:
        """Whether everything that came before ``held`` is settled: the door offers what is not,
        oldest first, so it would be in hand."""
        return held.seq == min(self._held)

    async def close(self) -> None:
        """Let go of everything: what is not settled is offered to the next one.

        Work under way is broken off, which each of its steps allows: whoever does it again meets
        what is done already.
        """
        self._closed = True
        tasks = [*self._tasks, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in self._held.values():
            held.delivery.nak()
        self._held.clear()
        self._lanes.clear()

    async def _run(self, lane: str) -> None:
        waiting = self._lanes[lane]
        while waiting:
            held = waiting[0]
            try:
                await self._handle(held)
            except Parked:
                self._park(lane)
                return
            waiting.popleft()
            self._settle(held)
        del self._lanes[lane], self._working[lane]

    def _park(self, lane: str) -> None:
        self._parked.add(lane)
        del self._working[lane]
        for held in self._lanes.pop(lane):
            held.delivery.nak(_PARKED_FOR)
            del self._held[held.seq]

    def _settle(self, held: Held[T]) -> None:
        held.delivery.ack()
        del self._held[held.seq]
        # An acknowledgement may be lost; then the request comes again.
        self._settled[held.seq] = None
        if len(self._settled) > _REMEMBERED:
            del self._settled[next(iter(self._settled))]

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            for held in self._held.values():
                held.delivery.extend()
