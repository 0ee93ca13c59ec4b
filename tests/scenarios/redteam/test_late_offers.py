"""A store that offers an older request after those that follow it.

What was on its way from a server that gave up its lead comes again only after its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from perdure.adapters.memory.backend import MemoryStore
from perdure.core.events import WorkflowSignaled, WorkflowStarted, decode_event
from perdure.engine.ingress import IngressDrain
from perdure.ports.addresses import Address, Lane
from perdure.ports.ingress import Ingress, IngressDelivery
from perdure.ports.log import Subscription
from perdure.testing.virtual_time import run

HERE = Address("default", "order-1")


class Late:
    """Offers one request so many seconds later than the store."""

    def __init__(self, ingress: Ingress, seq: int, *, seconds: float) -> None:
        self._ingress = ingress
        self._seq = seq
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ingress, name)

    async def open(
        self, on_request: Callable[[IngressDelivery], None], *, credit: int
    ) -> Subscription:
        loop = asyncio.get_running_loop()

        def offer(delivery: IngressDelivery) -> None:
            if delivery.message.seq == self._seq:
                loop.call_later(self._seconds, on_request, delivery)
            else:
                on_request(delivery)

        return await self._ingress.open(offer, credit=credit)


def test_a_start_that_is_offered_late_is_done_before_its_signals() -> None:
    async def main() -> None:
        store = MemoryStore()
        late = await store.request("start", ("Order", HERE.workflow_id), b"{}")
        for word in (b'"a"', b'"b"'):
            await store.request("signal", (HERE.workflow_id, "post"), word)
        backend = store.backend()
        ingress = Late(backend.ingress, late, seconds=9)
        async with IngressDrain(replace(backend, ingress=ingress), member="g-0"):
            await asyncio.sleep(15)
            inbox = await backend.log.following(HERE, Lane.EXTERNAL, 0)
        events = [decode_event(stored.data) for stored in inbox]
        assert isinstance(events[0], WorkflowStarted)
        signals = [bytes(e.args[0]) for e in events[1:] if isinstance(e, WorkflowSignaled)]
        assert signals == [b'"a"', b'"b"']
        assert await backend.ingress.settled() == late + 2

    run(main())


def test_a_signal_that_is_offered_late_comes_before_those_that_wait() -> None:
    async def main() -> None:
        store = MemoryStore()
        seqs = [
            await store.request("signal", (HERE.workflow_id, "post"), word)
            for word in (b'"a"', b'"b"', b'"c"')
        ]
        backend = store.backend()
        ingress = Late(backend.ingress, seqs[1], seconds=9)
        async with IngressDrain(replace(backend, ingress=ingress), member="g-0"):
            await asyncio.sleep(15)
            await store.request("start", ("Order", HERE.workflow_id), b"{}")
            await asyncio.sleep(120)
            # The start came last: none of them was for it, and none blocks the door.
            assert await backend.ingress.settled() == seqs[-1] + 1

    run(main())
