"""Turns that begin very much at once: the store is asked no faster than it answers."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.world import world

from perdure import workflow
from perdure.core.state import Status
from perdure.ports.backend import Backend
from perdure.testing.virtual_time import run

WORKFLOWS, TIMERS = 40, 300


@workflow.defn
class Fan:
    @workflow.run
    async def run(self) -> int:
        await asyncio.gather(*(workflow.sleep(timedelta(seconds=60)) for _ in range(TIMERS)))
        return TIMERS


class Slow:
    """Timers of a store that takes its time, and counts who waits."""

    def __init__(self, timers: Any) -> None:
        self._timers = timers
        self.waiting = self.most = self.armed = 0

    async def arm(self, *args: Any) -> int:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await asyncio.sleep(0.05)
            return await self._timers.arm(*args)
        finally:
            self.waiting -= 1
            self.armed += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timers, name)


def test_thousands_of_timers_are_armed_in_shares() -> None:
    slow: list[Slow] = []

    def wrap(backend: Backend) -> Backend:
        slow.append(Slow(backend.timers))
        return replace(backend, timers=slow[0])

    async def main() -> None:
        async with world([Fan], serve=False) as w:
            await w.add_scheduler(wrap=wrap)
            for number in range(WORKFLOWS):
                await w.start("Fan", id=f"fan-{number}")
            for number in range(WORKFLOWS):
                assert (await w.closed(f"fan-{number}")).status is Status.COMPLETED
        assert slow[0].armed == WORKFLOWS * TIMERS
        assert 100 < slow[0].most <= 2_000

    run(main())
