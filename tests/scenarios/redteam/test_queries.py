"""Queries raced by turns, other owners and purges."""

import asyncio
from typing import Any

import msgspec
import pytest
from support.gates import Gates
from support.redteam import Collector, address, alone
from support.world import World, world

from perdure.engine.scheduler.questions import Question
from perdure.ports.addresses import Lane
from perdure.testing.virtual_time import run


async def _ask(w: World, name: str, workflow_id: str, after: int = 0) -> dict[str, Any]:
    clerk = w.scheduler_objects[name]._clerk
    question = Question(workflow_id=workflow_id, name="so_far", after=after)
    return msgspec.json.decode(await clerk.query(msgspec.json.encode(question)))


@pytest.mark.timeout(30)
def test_an_owner_never_answers_without_what_its_asker_knows() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            await w.add_scheduler("a", wrap=alone)
            collector = await w.start("Collector", 9)
            await asyncio.sleep(2)
            await w.add_scheduler("frozen", wrap=lambda b: gates.wrap(alone(b)))
            await asyncio.sleep(1)
            gates.freeze()
            # The consumer offers in turn: one of these waits in the frozen process.
            for number in range(2):
                seq = await w.signal(collector, "post", number)
                answer: dict[str, Any] = {"ok": False}
                tries = 0
                while not answer["ok"] and tries < 10:
                    answer = await _ask(w, "a", collector, after=seq)
                    tries += 1
                assert answer["ok"], answer
                assert number in answer["result"]
            gates.thaw()

    run(main())


def test_a_query_that_races_with_the_purge_reads_the_archive() -> None:
    async def main() -> None:
        async with world([Collector], serve=False, purge_grace=10**9) as w:
            gates = Gates()
            await w.add_scheduler("a", wrap=gates.wrap)
            collector = await w.start("Collector", 1)
            await asyncio.sleep(2)
            await w.signal(collector, "post", 1)
            closed = await w.closed(collector)
            w.scheduler_objects["a"]._lanes.clear()
            reads = [gates.hold("log.read") for _ in range(2)]
            answer = asyncio.create_task(_ask(w, "a", collector))
            await asyncio.sleep(0.1)
            await w.client.log.purge(address(collector), closed.closed_seq)
            for read in reads:
                read.release()
            assert (await answer)["result"] == [1]

    run(main())


def test_a_query_meets_half_a_purge() -> None:
    async def main() -> None:
        async with world([Collector], serve=False, purge_grace=3_600 * 10**9) as w:
            await w.add_scheduler("a")
            collector = await w.start("Collector", 1)
            await asyncio.sleep(2)
            await w.signal(collector, "post", 1)
            closed = await w.closed(collector)
            w.scheduler_objects["a"]._lanes.clear()
            w.store._server.log.purge((address(collector), Lane.EXTERNAL), closed.closed_seq)
            assert (await _ask(w, "a", collector))["result"] == [1]

    run(main())
