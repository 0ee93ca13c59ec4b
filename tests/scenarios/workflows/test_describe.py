"""What an operator sees of a run that waits."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.world import World, world

from perdure import activity, workflow
from perdure.core.durations import SECOND
from perdure.core.ids import slot_of
from perdure.exceptions import ApplicationError
from perdure.testing.virtual_time import run


@activity.defn
async def stumble() -> None:
    raise ApplicationError("not today", type="Closed")


@workflow.defn
class Waiting:
    @workflow.run
    async def run(self, interval: float, queue: str) -> None:
        policy = workflow.RetryPolicy(initial_interval=timedelta(seconds=interval))
        await workflow.execute_activity(
            stumble,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=policy,
            task_queue=queue,
        )


async def describe(w: World, workflow_id: str) -> dict[str, Any]:
    question = msgspec.json.encode({"workflow_id": workflow_id})
    topic = ("describe", "default", str(slot_of(workflow_id)))
    return msgspec.json.decode(await w.client.messages.ask(topic, question, timeout=5 * SECOND))


@pytest.mark.parametrize("interval", [20.0, 300.0])
def test_a_retrying_activity_shows_attempt_failure_and_next_time(interval: float) -> None:
    async def main() -> None:
        async with world([Waiting], [stumble]) as w:
            workflow_id = await w.start("Waiting", interval, "default")
            await asyncio.sleep(2)
            told = await describe(w, workflow_id)
            (pending,) = told["activities"]
            assert pending["last_failure"]["message"] == "not today"
            assert pending["attempt"] in (1, 2)
            wait = pending["next_attempt_at"] - w.client.clock.now()
            assert (interval - 3) * SECOND < wait <= interval * SECOND
            assert told["workers"] == {"default": 1}

    run(main())


def test_an_activity_that_nobody_serves_shows_that_nobody_does() -> None:
    async def main() -> None:
        async with world([Waiting], [stumble]) as w:
            workflow_id = await w.start("Waiting", 1.0, "elsewhere")
            await asyncio.sleep(1)
            told = await describe(w, workflow_id)
            assert told["workers"] == {"elsewhere": 0}
            assert told["activities"][0]["task_queue"] == "elsewhere"

    run(main())
