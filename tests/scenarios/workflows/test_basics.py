"""What workflows do, on the whole engine in virtual time."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support.world import world

from perdure import activity, workflow
from perdure.client import Client
from perdure.exceptions import ActivityError, ApplicationError
from perdure.testing.virtual_time import run

SHORT = timedelta(seconds=10)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
def double(number: int) -> int:
    return number * 2


@activity.defn
async def refuse(text: str) -> None:
    raise ApplicationError(text, type="Refused", non_retryable=True)


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=SHORT)


@workflow.defn
class Doubling:
    @workflow.run
    async def run(self, count: int) -> list[int]:
        return list(
            await asyncio.gather(
                *(
                    workflow.execute_activity(double, n, start_to_close_timeout=SHORT)
                    for n in range(count)
                )
            )
        )


@workflow.defn
class Napping:
    @workflow.run
    async def run(self, seconds: float) -> float:
        before = workflow.now()
        await workflow.sleep(timedelta(seconds=seconds))
        return (workflow.now() - before).total_seconds()


@workflow.defn
class Approval:
    def __init__(self) -> None:
        self.approved: bool | None = None

    @workflow.run
    async def run(self, timeout: float | None = None) -> str:
        limit = None if timeout is None else timedelta(seconds=timeout)
        met = await workflow.wait_condition(lambda: self.approved is not None, timeout=limit)
        if not met:
            return "timeout"
        return "approved" if self.approved else "rejected"

    @workflow.signal
    def decide(self, approved: bool) -> None:
        self.approved = approved

    @workflow.query
    def decision(self) -> bool | None:
        return self.approved


@workflow.defn
class Failing:
    @workflow.run
    async def run(self, how: str) -> None:
        if how == "activity":
            await workflow.execute_activity(refuse, "no", start_to_close_timeout=SHORT)
        raise ValueError("boom")


@workflow.defn
class Dialling:
    @workflow.run
    async def run(self) -> None:
        await Client.connect("nats://127.0.0.1:4222")


ALL: Any = [Dialling, Greeting, Doubling, Napping, Approval, Failing]
ACTIVITIES: Any = [greet, double, refuse]


def test_an_activity_s_result_is_the_workflow_s() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            assert await w.result(await w.start("Greeting", "world")) == "Hello, world!"

    run(main())


def test_gathered_activities_keep_their_order() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            assert await w.result(await w.start("Doubling", 30)) == [2 * n for n in range(30)]

    run(main())


@pytest.mark.parametrize("seconds", [0.2, 1.5, 3 * 3_600.0])
def test_a_sleep_is_never_early(seconds: float) -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            slept = await w.result(await w.start("Napping", seconds))
            assert seconds <= slept <= seconds + 1

    run(main())


@pytest.mark.parametrize(("answer", "expected"), [(True, "approved"), (False, "rejected")])
def test_a_signal_ends_the_wait(answer: bool, expected: str) -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            approval = await w.start("Approval")
            await asyncio.sleep(3)
            await w.signal(approval, "decide", answer)
            assert await w.result(approval) == expected

    run(main())


def test_a_wait_times_out() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            assert await w.result(await w.start("Approval", 5.0)) == "timeout"

    run(main())


def test_a_plain_exception_fails_the_workflow() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            with pytest.raises(ApplicationError, match="boom") as raised:
                await w.result(await w.start("Failing", "plain"))
            assert raised.value.type == "ValueError"

    run(main())


def test_a_failed_activity_fails_the_workflow_with_its_cause() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            with pytest.raises(ActivityError) as raised:
                await w.result(await w.start("Failing", "activity"))
            assert isinstance(raised.value.cause, ApplicationError)
            assert raised.value.cause.type == "Refused"

    run(main())


def test_workflow_code_that_connects_is_told_where_to_connect() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            with pytest.raises(ApplicationError, match="Use the client in an activity"):
                await w.result(await w.start("Dialling"), timeout=30)

    run(main())


def test_a_closed_run_knows_how_long_its_history_is() -> None:
    async def main() -> None:
        async with world(ALL, ACTIVITIES) as w:
            greeting = await w.start("Greeting", "world")
            assert (await w.closed(greeting)).history_length == 4

    run(main())
