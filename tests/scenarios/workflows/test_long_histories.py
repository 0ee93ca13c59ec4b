"""Runs of many turns: read again at their close, and replayed without holding up the others."""

import asyncio
from datetime import timedelta

from support.world import world

from perdure import workflow
from perdure.core.events import WorkflowStarted
from perdure.engine.scheduler.opening import replayed
from perdure.ports.addresses import Address
from perdure.testing.virtual_time import run

STEPS = 600


@workflow.defn
class Ticking:
    @workflow.run
    async def run(self, steps: int) -> int:
        for _ in range(steps):
            await workflow.sleep(timedelta(seconds=5))
        await workflow.wait_condition(lambda: self.enough)
        return steps

    def __init__(self) -> None:
        self.enough = False

    @workflow.signal
    def stop(self) -> None:
        self.enough = True


def test_others_get_their_turn_while_a_long_history_is_replayed() -> None:
    async def main() -> None:
        async with world([Ticking]) as w:
            workflow_id = await w.start("Ticking", STEPS)
            await asyncio.sleep(6 * STEPS)
            history = await w.history(workflow_id)
            assert len(history.turns) > STEPS
            started = history.started.event
            assert isinstance(started, WorkflowStarted)
            context = w.scheduler_objects["s1"].context
            replay = asyncio.create_task(
                replayed(context, Address("default", workflow_id), history, started)
            )
            turns = 0
            while not replay.done():
                turns += 1
                await asyncio.sleep(0)
            assert turns > 2
            (await replay).instance.dispose()

    run(main())


def test_a_history_too_long_to_keep_is_archived_whole() -> None:
    async def main() -> None:
        async with world([Ticking]) as w:
            workflow_id = await w.start("Ticking", STEPS)
            await asyncio.sleep(6 * STEPS)
            open_history = await w.history(workflow_id)
            await w.signal(workflow_id, "stop")
            assert await w.result(workflow_id) == STEPS
            await asyncio.sleep(600)
            archived = await w.history(workflow_id)
            assert archived.closing is not None
            seqs = [turn.stored.seq for turn in archived.turns]
            assert seqs == [turn.stored.seq for turn in open_history.turns]

    run(main())
