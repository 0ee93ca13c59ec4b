"""A scheduler that is asked to stop does, whatever the store does."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.world import world

from perdure import activity, workflow
from perdure.ports.errors import Unavailable
from perdure.ports.tasks import TaskQueue
from perdure.testing.virtual_time import run

SHORT = timedelta(seconds=10)


@activity.defn
async def work() -> str:
    return "done"


@workflow.defn
class Working:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(work, start_to_close_timeout=SHORT)


class _Closed:
    """A task queue that takes nothing."""

    def __init__(self, tasks: TaskQueue) -> None:
        self._tasks = tasks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tasks, name)

    async def offer(self, *args: Any, **options: Any) -> bool:
        raise Unavailable("the task queue takes nothing")


def test_a_stop_does_not_wait_for_a_store_that_refuses() -> None:
    async def main() -> None:
        async with world([Working], [work], serve=False) as w:
            await w.add_scheduler(
                "refused", wrap=lambda backend: replace(backend, tasks=_Closed(backend.tasks))
            )
            working = await w.start("Working")
            await asyncio.sleep(30)
            w.schedulers["refused"].cancel()
            async with asyncio.timeout(20):
                await asyncio.gather(w.schedulers["refused"], return_exceptions=True)
            await w.add_scheduler("next")
            await w.add_worker()
            assert await w.result(working, timeout=60) == "done"

    run(main())
