"""Tasks that come to a worker late, when another attempt has taken their place."""

import asyncio
from datetime import timedelta
from typing import Any

from support.world import world

from perdure import activity, workflow
from perdure.engine.activities.worker import ActivityWorker
from perdure.testing.fault_plan import At, FaultPlan
from perdure.testing.faults import Fault, Passage, PortCall
from perdure.testing.virtual_time import run

LATE = 14.0
"""Seconds: longer than a lease."""


@activity.defn
async def long() -> int:
    await asyncio.sleep(10)
    return activity.info().attempt


@workflow.defn
class Waiting:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(long, start_to_close_timeout=timedelta(seconds=30))


class Late(Fault):
    async def around(self, call: PortCall) -> Any:
        return await call.invoke()

    def on_way(self, passage: Passage) -> None:
        asyncio.get_running_loop().call_later(LATE, passage.go)


def test_an_offer_that_comes_late_does_not_end_the_attempt_after_it() -> None:
    async def main() -> None:
        async with world([Waiting], [long], serve=False) as w:
            await w.add_scheduler()
            plan = FaultPlan(at=[At("tasks.delivery", 1, Late())])
            backend = plan.wrap(w.store.backend())
            worker = ActivityWorker(backend, w.app, task_queue="default", converter=w.converter)
            async with worker:
                assert await w.result(await w.start("Waiting"), timeout=100) == 2

    run(main())
