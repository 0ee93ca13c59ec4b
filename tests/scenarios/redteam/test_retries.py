"""Long backoffs across deaths."""

import asyncio
from datetime import timedelta
from typing import Any

from support.world import world

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.engine.activities.worker import ActivityWorker
from perdure.exceptions import ApplicationError
from perdure.testing.fault_plan import At, FaultPlan
from perdure.testing.faults import CrashAfter
from perdure.testing.virtual_time import run

SHORT = timedelta(seconds=30)


@activity.defn
async def second_time(*args: str) -> int:
    attempt = activity.info().attempt
    if attempt < 2:
        activity.heartbeat(*args)
        raise ApplicationError("not yet", *args)
    return attempt


@workflow.defn
class Patient:
    @workflow.run
    async def run(self, size: int) -> int:
        rule = RetryPolicy(initial_interval=timedelta(seconds=60), backoff_coefficient=1.0)
        texts = [str(n) * size for n in range(4)]
        return await workflow.execute_activity(
            second_time, args=texts, start_to_close_timeout=SHORT, retry_policy=rule
        )


def test_an_attempt_follows_although_the_one_before_still_lies_in_the_queue() -> None:
    async def main() -> None:
        async with world([Patient], [second_time], serve=False) as w:
            await w.add_scheduler()
            plan = FaultPlan(at=[At("log.append", 1, CrashAfter())])
            raw = w.store.backend()
            died = asyncio.Event()

            def on_crash() -> None:
                w.store.crash(raw)
                died.set()

            mortal = ActivityWorker(
                plan.wrap(raw, on_crash=on_crash),
                w.app,
                task_queue="default",
                converter=w.converter,
            )
            life = asyncio.create_task(mortal.run())
            patient = await w.start("Patient", 1)
            await died.wait()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            # Nobody works for longer than the backoff.
            await asyncio.sleep(100)
            await w.add_worker("w2")
            assert await w.result(patient, timeout=300) == 2

    run(main())


def test_an_attempt_larger_than_a_message_is_made_nevertheless() -> None:
    async def main() -> None:
        async with world([Patient], [second_time]) as w:
            patient: Any = await w.start("Patient", 120_000)
            assert await w.result(patient, timeout=600) == 2

    run(main())
