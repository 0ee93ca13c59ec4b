"""Signals that reach an owner before the start that they are for."""

from __future__ import annotations

import asyncio

from support.redteam import Collector, until
from support.world import world

from perdure.core.ids import SLOTS
from perdure.engine.history import load_history
from perdure.ports.addresses import Address
from perdure.ports.log import Delivery
from perdure.testing.virtual_time import run

HERE = Address("default", "early")


def test_what_comes_soon_after_a_late_start_is_recorded() -> None:
    async def main() -> None:
        async with world([Collector], [], serve=False) as w:
            # Another owner has the start in hand, and hands it back when it is missed already.
            taken: list[Delivery] = []
            partition = HERE.slot * w.client.partitions // SLOTS
            elsewhere = await w.client.inbox.open("default", partition, taken.append, credit=1)
            await w.start("Collector", 9, id=HERE.workflow_id)
            await until(lambda: bool(taken), 60)
            await elsewhere.close()
            first = await w.signal(HERE.workflow_id, "post", 1)
            scheduler = await w.add_scheduler()
            await until(lambda: scheduler.lane_of(HERE)._parked, 60)
            taken[0].nak()
            await until(lambda: scheduler.cached == 1, 60)
            second = await w.signal(HERE.workflow_id, "post", 2)
            await asyncio.sleep(30)
            history = await load_history(w.client, HERE)
            assert history is not None and {first, second} <= history.named

    run(main())
