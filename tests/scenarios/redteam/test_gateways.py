"""Gateways that stand still while another drains."""

import asyncio

import pytest
from support.gates import Gates

from perdure.adapters.memory.backend import MemoryStore
from perdure.engine.ingress import IngressDrain
from perdure.testing.virtual_time import run


@pytest.mark.parametrize("frozen", ["g-0", "g-1"])
def test_a_gateway_that_was_followed_does_not_believe_that_it_holds_the_door(frozen: str) -> None:
    async def main() -> None:
        store, gates = MemoryStore(), Gates()
        drains = {
            name: IngressDrain(
                gates.wrap(store.backend()) if name == frozen else store.backend(), member=name
            )
            for name in ("g-0", "g-1")
        }
        for drain in drains.values():
            await drain.start()
        await asyncio.sleep(30)
        gates.freeze()
        await asyncio.sleep(60)
        gates.thaw()
        await asyncio.sleep(60)
        last = await store.request("start", ("Order", "order-1"), b"{}")
        await asyncio.sleep(30)
        assert await store.backend().ingress.settled() >= last
        for drain in drains.values():
            await drain.stop()

    run(main())
