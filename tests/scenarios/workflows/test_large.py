"""Large payloads and large turns: they take the way through the blob store, and code never sees it."""

import asyncio
from datetime import timedelta

import pytest
from support.world import world

from perdure import activity, workflow
from perdure.core.state import Status
from perdure.exceptions import ApplicationError
from perdure.testing.virtual_time import run

SHORT = timedelta(seconds=60)
BIG = 3 * 1024 * 1024


@activity.defn
async def grow(text: str, times: int) -> str:
    return text * times


@activity.defn
async def measure(text: str) -> int:
    return len(text)


@workflow.defn
class Large:
    def __init__(self) -> None:
        self.letter = ""

    @workflow.run
    async def run(self, text: str) -> list[int]:
        grown = await workflow.execute_activity(grow, args=[text, 2], start_to_close_timeout=SHORT)
        size = await workflow.execute_activity(measure, grown, start_to_close_timeout=SHORT)
        await workflow.wait_condition(lambda: self.letter != "")
        return [len(text), len(grown), size, len(self.letter)]

    @workflow.signal
    def post(self, letter: str) -> None:
        self.letter = letter


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, size: int) -> str:
        return "x" * size


@workflow.defn
class FanOut:
    @workflow.run
    async def run(self, count: int) -> int:
        sizes = await asyncio.gather(
            *(
                workflow.execute_activity(measure, "x" * 400, start_to_close_timeout=SHORT)
                for _ in range(count)
            )
        )
        return sum(sizes)


@pytest.mark.parametrize("max_cached", [0, 100])
def test_megabytes_pass_as_arguments_results_and_signals(max_cached: int) -> None:
    async def main() -> None:
        async with world([Large], [grow, measure], max_cached=max_cached) as w:
            large = await w.start("Large", "a" * BIG)
            await asyncio.sleep(2)
            await w.signal(large, "post", "b" * BIG)
            assert await w.result(large, timeout=600) == [BIG, 2 * BIG, 2 * BIG, BIG]

    run(main())


def test_a_payload_above_the_limit_fails_the_workflow_with_the_limit() -> None:
    async def main() -> None:
        async with world([Echo], []) as w:
            echo = await w.start("Echo", 64 * 1024 * 1024 + 1)
            with pytest.raises(ApplicationError, match="above the limit of 67108864 bytes"):
                await w.result(echo, timeout=600)
            assert (await w.closed(echo)).status is Status.FAILED

    run(main())


def test_a_turn_of_very_many_commands_is_one_record() -> None:
    async def main() -> None:
        async with world([FanOut], [measure], max_cached=0) as w:
            fan = await w.start("FanOut", 2_000)
            assert await w.result(fan, timeout=3_600) == 2_000 * 400
            history = await w.history(fan)
            first = history.all_turns[0]
            assert len(first.record.commands) == 2_000

    run(main())
