"""Clocks that differ: a scheduler that is ahead of the store, as after a change of its leader."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from support.redteam import in_log
from support.world import world

from perdure import workflow
from perdure.core.durations import SECOND
from perdure.ports.addresses import Lane
from perdure.ports.backend import Backend
from perdure.ports.clock import Clock
from perdure.testing.fault_plan import At, FaultPlan
from perdure.testing.faults import ReportedFailed
from perdure.testing.virtual_time import run


@workflow.defn
class Napper:
    @workflow.run
    async def run(self) -> float:
        began = workflow.now()
        await workflow.sleep(timedelta(seconds=0.5))
        return (workflow.now() - began).total_seconds()


class Ahead:
    """A process's clock that shows what another leader of the store had shown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> int:
        return self._clock.now() + 2 * SECOND

    def observe(self, timestamp: int) -> None:
        self._clock.observe(timestamp)


def _ahead(backend: Backend) -> Backend:
    return replace(backend, clock=Ahead(backend.clock))


def test_a_scheduler_ahead_of_the_store_fires_a_timer_early_once_and_then_leaves_it() -> None:
    async def main() -> None:
        async with world([Napper], serve=False) as w:
            await w.add_scheduler(wrap=_ahead)
            napper = await w.start("Napper")
            await asyncio.sleep(0.4)
            records = [lane for lane, _ in in_log(w.store, napper) if lane is Lane.HISTORY]
            assert len(records) == 2, "it is armed, and once more"
            assert await w.result(napper, timeout=60) >= 0.5

    run(main())


def test_a_timer_armed_again_by_a_record_of_unknown_outcome_fires() -> None:
    async def main() -> None:
        async with world([Napper], serve=False) as w:
            plan = FaultPlan(at=[At("log.commit", 2, ReportedFailed())])
            await w.add_scheduler(wrap=lambda backend: _ahead(plan.wrap(backend)))
            assert await w.result(await w.start("Napper"), timeout=60) >= 0.5

    run(main())
