"""Requests in hand: in order and one at a time per workflow id, many ids at once.

Everything held keeps its lease, whether it is worked on or waits its turn. A request offered again
while it is held only brings the newer way to settle it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from perdure.ports.ingress import IngressDelivery

_REMEMBERED: Final = 8_192


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
    """``read`` names a request's lane; ``handle`` does it, and returns when it may be settled."""

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
        loop = asyncio.get_running_loop()
        held = Held(delivery, request, loop.time())
        self._held[seq] = held
        if self._keeper is None:
            self._keeper = loop.create_task(self._keep_leases())
        waiting = self._lanes.get(lane)
        if waiting is not None:
            waiting.append(held)
            return
        self._lanes[lane] = deque([held])
        task = loop.create_task(self._run(lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
            await self._handle(held)
            waiting.popleft()
            self._settle(held)
        del self._lanes[lane]

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
