"""What workers promise: nothing runs twice, nothing waits in memory, queues are apart."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import WorkflowExecutionStatus

pytestmark = pytest.mark.integration

Town = Callable[[Callable[[Any], Any]], None]
LIMIT = timedelta(seconds=20)


class Calls:
    """An activity that counts its calls by argument and idempotency key."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.made: list[tuple[int, str]] = []

    @activity.defn(name="count_up")
    async def count_up(self, number: int) -> int:
        self.made.append((number, activity.info().idempotency_key))
        return number + 1


@workflow.defn
class Steps:
    @workflow.run
    async def run(self, steps: int) -> int:
        number = 0
        for _ in range(steps):
            workflow.logger.info("step %d", number)
            number = await workflow.execute_activity(
                "count_up", number, result_type=int, start_to_close_timeout=LIMIT
            )
            await asyncio.sleep(0.01)
        return number


@workflow.defn
class Fan:
    @workflow.run
    async def run(self, count: int) -> list[int]:
        return await asyncio.gather(
            *(
                workflow.execute_activity(
                    "count_up", number, result_type=int, start_to_close_timeout=LIMIT
                )
                for number in range(count)
            )
        )


@workflow.defn
class Sleepy:
    def __init__(self) -> None:
        self.is_up = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.is_up)
        return workflow.info().workflow_id

    @workflow.signal
    def wake(self) -> None:
        self.is_up = True


@workflow.defn
class Changing:
    """Its code is changed between two workers."""

    order: tuple[str, ...] = ("first", "second")

    @workflow.run
    async def run(self) -> list[str]:
        return [
            await workflow.execute_activity(
                name, result_type=str, start_to_close_timeout=timedelta(minutes=1)
            )
            for name in self.order
        ]


@activity.defn
async def first() -> str:
    return "first"


@activity.defn
async def second() -> str:
    return "second"


def test_a_worker_that_remembers_nothing_does_each_step_once(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Any) -> None:
        calls = Calls()
        await here.work(Steps, calls.count_up, max_cached_workflows=0)
        result = await here.client.execute_workflow(Steps.run, 8, id="steps", task_queue="default")
        assert result == 8
        assert [number for number, _ in calls.made] == list(range(8))
        assert len({key for _, key in calls.made}) == 8
        said = [r for r in caplog.records if r.name == "perdure.workflow"]
        assert [r.getMessage().split(" (")[0] for r in said] == [f"step {n}" for n in range(8)]
        assert {vars(r)["workflow_id"] for r in said} == {"steps"}
        assert all(vars(r)["run_id"] for r in said)

    with caplog.at_level(logging.INFO, logger="perdure.workflow"):
        town(scenario)


def test_workers_of_a_queue_share_its_activities(town: Town) -> None:
    async def scenario(here: Any) -> None:
        ones = [Calls("a"), Calls("b")]
        await here.work(Fan)
        for one in ones:
            await here.work(one.count_up, max_concurrent_activities=10)
        results = await here.client.execute_workflow(Fan.run, 200, id="fan", task_queue="default")
        assert results == list(range(1, 201))
        made = Counter(number for one in ones for number, _ in one.made)
        assert made == Counter(range(200))
        assert all(one.made for one in ones)

    town(scenario)


def test_waiting_workflows_take_no_place_and_all_wake_after_a_restart(town: Town) -> None:
    async def scenario(here: Any) -> None:
        calls = Calls()
        worker = await here.work(Sleepy, Steps, calls.count_up, max_cached_workflows=20)

        async def begin(number: int) -> Any:
            return await here.client.start_workflow(
                Sleepy.run, id=f"s-{number}", task_queue="default"
            )

        handles = await asyncio.gather(*(begin(number) for number in range(400)))
        assert await here.client.execute_workflow(Steps.run, 2, id="q", task_queue="default") == 2
        await worker.shutdown()
        await asyncio.gather(*(handle.signal(Sleepy.wake) for handle in handles))
        await here.work(Sleepy, Steps, calls.count_up, max_cached_workflows=20)
        results = await asyncio.gather(*(handle.result() for handle in handles))
        assert results == [f"s-{number}" for number in range(400)]

    town(scenario)


def test_queues_are_apart(town: Town) -> None:
    async def scenario(here: Any) -> None:
        a, b = Calls("a"), Calls("b")
        await here.work(Fan, a.count_up, task_queue="orders/a")
        await here.work(Fan, b.count_up, task_queue="orders b")
        for queue, id in (("orders/a", "1"), ("orders b", "2"), ("orders b", "3")):
            await here.client.execute_workflow(Fan.run, 5, id=id, task_queue=queue)
        assert (len(a.made), len(b.made)) == (5, 10)

    town(scenario)


def test_an_activity_goes_to_the_queue_that_the_call_names(town: Town) -> None:
    @activity.defn(name="first")
    async def elsewhere() -> str:
        return f"on {activity.info().task_queue}"

    async def scenario(here: Any) -> None:
        await here.work(Detour, first)
        await here.work(elsewhere, task_queue="other")
        assert await here.client.execute_workflow(Detour.run, id="d", task_queue="default") == [
            "on other",
            "first",
        ]

    town(scenario)


@workflow.defn
class Detour:
    @workflow.run
    async def run(self) -> list[str]:
        return [
            await workflow.execute_activity(
                first, task_queue="other", start_to_close_timeout=LIMIT
            ),
            await workflow.execute_activity(first, start_to_close_timeout=LIMIT),
        ]


def test_changed_code_stops_its_run_says_where_and_the_old_code_ends_it(town: Town) -> None:
    async def scenario(here: Any) -> None:
        worker = await here.work(Changing, build_id="old")
        handle = await here.client.start_workflow(Changing.run, id="c", task_queue="default")
        while not (await handle.describe()).pending_activities:
            await asyncio.sleep(0.01)
        await worker.shutdown()
        Changing.order = ("second", "first")
        worker = await here.work(Changing, first, second, build_id="new")
        while not (description := await handle.describe()).blocked:
            await asyncio.sleep(0.01)
        assert description.status is WorkflowExecutionStatus.RUNNING
        assert "first" in description.blocked
        assert "second" in description.blocked
        await worker.shutdown()
        Changing.order = ("first", "second")
        await here.work(Changing, first, second, build_id="old")
        assert await handle.result() == ["first", "second"]

    town(scenario)


def test_a_workflow_that_nobody_knows_waits_for_its_code(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(here: Any) -> None:
        worker = await here.work(Steps, Calls().count_up)
        handle = await here.client.start_workflow("Sleepi", id="s", task_queue="default")
        while not (description := await handle.describe()).blocked:
            await asyncio.sleep(0.01)
        assert "Sleepi" in description.blocked
        assert "Steps" in description.blocked
        assert any("Sleepi" in record.getMessage() for record in caplog.records)
        await handle.signal("wake")
        await worker.shutdown()
        named = workflow.defn(name="Sleepi")(Sleepy)
        await here.work(named)
        assert await handle.result() == "s"

    town(scenario)


def test_a_description_says_what_a_workflow_waits_for(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Changing)
        handle = await here.client.start_workflow(Changing.run, id="c", task_queue="default")
        while not (description := await handle.describe()).pending_activities:
            await asyncio.sleep(0.01)
        pending = description.pending_activities[0]
        assert (pending.activity_type, pending.attempt) == ("first", 1)
        assert description.workers == {"default": 0}
        await here.work(first, second)
        assert await handle.result() == ["first", "second"]

    town(scenario)
