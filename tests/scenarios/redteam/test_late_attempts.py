"""An attempt that takes long to begin, while somebody else brings the activity to its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from support.gates import Gates
from support.world import world

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.core.events import ActivityCompleted, encode_event
from perdure.engine.activities.worker import ActivityWorker
from perdure.exceptions import ApplicationError
from perdure.ports.addresses import Address, Lane
from perdure.testing.virtual_time import run

SHORT = timedelta(minutes=5)
BEGUN: list[int] = []


@activity.defn
async def second_time() -> int:
    attempt = activity.info().attempt
    BEGUN.append(attempt)
    if attempt < 2:
        raise ApplicationError("not yet")
    return attempt


@workflow.defn
class Patient:
    @workflow.run
    async def run(self) -> int:
        rule = RetryPolicy(initial_interval=timedelta(seconds=5))
        return await workflow.execute_activity(
            second_time, start_to_close_timeout=SHORT, retry_policy=rule
        )


def test_what_ended_meanwhile_is_not_done_again() -> None:
    async def main() -> None:
        BEGUN.clear()
        async with world([Patient], [second_time], serve=False) as w:
            await w.add_scheduler()
            gates = Gates()
            hold = gates.hold("heartbeats.beat")
            slow = ActivityWorker(
                gates.wrap(w.store.backend()), w.app, task_queue="default", converter=w.converter
            )
            life = asyncio.create_task(slow.run())
            patient = await w.start("Patient")
            await hold.reached.wait()
            assert BEGUN == [1]
            history = await w.history(patient)
            other = ActivityCompleted(
                run=history.run,
                n=1,
                attempt=2,
                activity_type="second_time",
                result=w.converter.to_payload(7),
                identity="another",
            )
            word = f"{history.run}:1:2:completed"
            here = Address("default", patient)
            await w.client.log.append(here, Lane.ENGINE, encode_event(other), dedup=word)
            assert await w.result(patient) == 7
            await asyncio.sleep(30)
            hold.release()
            await asyncio.sleep(30)
            assert BEGUN == [1]
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    run(main())
