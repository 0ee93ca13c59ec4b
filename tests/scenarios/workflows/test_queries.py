"""Questions to a run: live, evicted, closed, purged."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.world import World, world

from perdure import workflow
from perdure.core.durations import SECOND
from perdure.core.ids import slot_of
from perdure.testing.virtual_time import run


@workflow.defn
class Counter:
    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    async def run(self, until: int) -> int:
        await workflow.wait_condition(lambda: self.count >= until)
        return self.count

    @workflow.signal
    def add(self, number: int) -> None:
        self.count += number

    @workflow.query
    def current(self) -> int:
        return self.count

    @workflow.query
    def plus(self, number: int) -> int:
        return self.count + number

    @workflow.query
    def broken(self) -> int:
        raise ValueError("no answer")

    @workflow.query
    def meddling(self) -> str:
        workflow.start_activity("anything", start_to_close_timeout=timedelta(seconds=1))
        return "done"


async def ask(w: World, workflow_id: str, name: str, *args: Any, after: int = 0) -> Any:
    question = {"workflow_id": workflow_id, "name": name, "args": list(args), "after": after}
    topic = ("query", "default", str(slot_of(workflow_id)))
    data = await w.client.messages.ask(topic, msgspec.json.encode(question), timeout=10 * SECOND)
    return msgspec.json.decode(data)


@pytest.mark.parametrize("max_cached", [0, 100])
def test_a_query_sees_what_its_asker_did(max_cached: int) -> None:
    async def main() -> None:
        async with world([Counter], max_cached=max_cached) as w:
            counter = await w.start("Counter", 1_000)
            await asyncio.sleep(2)
            for number in range(1, 20):
                seq = await w.signal(counter, "add", 1)
                answer = await ask(w, counter, "current", after=seq)
                assert answer == {"ok": True, "result": number}

    run(main())


def test_arguments_and_refusals() -> None:
    async def main() -> None:
        async with world([Counter]) as w:
            counter = await w.start("Counter", 5)
            await asyncio.sleep(2)
            assert (await ask(w, counter, "plus", 3))["result"] == 3
            before = len((await w.history(counter)).turns)
            for name, words in (
                ("nothing", "known queries: broken, current, meddling, plus"),
                ("broken", "no answer"),
                ("meddling", "read-only"),
            ):
                answer = await ask(w, counter, name)
                assert not answer["ok"]
                assert words in answer["error"]["message"]
            assert "takes 1 argument" in (await ask(w, counter, "plus"))["error"]["message"]
            assert len((await w.history(counter)).turns) == before
            await w.signal(counter, "add", 5)
            assert await w.result(counter, timeout=10) == 5

    run(main())


@pytest.mark.parametrize("wait", [1, 600])
def test_a_closed_workflow_answers_from_its_log_and_its_archive(wait: float) -> None:
    async def main() -> None:
        async with world([Counter]) as w:
            counter = await w.start("Counter", 2)
            await w.signal(counter, "add", 2)
            assert await w.result(counter, timeout=10) == 2
            await asyncio.sleep(wait)
            assert await ask(w, counter, "current") == {"ok": True, "result": 2}

    run(main())


def test_an_unknown_workflow_has_no_answer() -> None:
    async def main() -> None:
        async with world([Counter]) as w:
            await asyncio.sleep(1)
            answer = await ask(w, "nobody", "current")
            assert not answer["ok"]

    run(main())
