"""The client against a real scheduler over memory: what a program sees."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from scenarios.doors.client_workflows import Shopping, Sleeper, Working
from scenarios.doors.client_world import ORDER, World, with_scheduler, without_scheduler

from perdure.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from perdure.core.durations import SECOND
from perdure.core.errors import (
    ApplicationError,
    CancelledError,
    InvalidInputError,
    TerminatedError,
    WorkflowNotFoundError,
    WorkflowQueryFailedError,
)
from perdure.core.errors import TimeoutError as WorkflowTimeoutError
from perdure.ports.addresses import Address, Lane


def test_a_workflow_is_started_signaled_queried_and_awaited() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(
            Shopping.run, args=[ORDER, 2], id="order:1", memo={"who": "me"}
        )
        await handle.signal(Shopping.approve, "anna")
        assert await handle.query(Shopping.names) == ["anna"]
        await handle.signal("approve", "bob")
        assert await handle.result() == ["o-1", "anna", "bob"]
        assert await handle.query("names", "b", result_type=list[str]) == ["bob"]
        description = await handle.describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED
        assert (description.id, description.run_id) == ("order:1", handle.run_id)
        assert description.close_time is not None
        assert await description.memo() == {"who": "me"}

    with_scheduler(scenario)


def test_a_query_has_seen_every_signal_that_was_sent_before_it() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, args=[ORDER, 99], id="o")
        for number in range(30):
            await handle.signal(Shopping.approve, str(number))
            assert len(await handle.query(Shopping.names)) == number + 1

    with_scheduler(scenario)


def test_execute_returns_the_result_in_its_type() -> None:
    async def scenario(world: World) -> None:
        result = await world.client.execute_workflow(Sleeper.run, id="s", task_queue="default")
        assert result == "x" * 200_000
        handle = world.client.get_workflow_handle_for(Sleeper.run, "s")
        assert await handle.result() == result

    with_scheduler(scenario)


@pytest.mark.parametrize(
    ("end", "cause", "status"),
    [
        (lambda h: h.signal("sold-out"), ApplicationError, WorkflowExecutionStatus.FAILED),
        (lambda h: h.cancel("enough"), CancelledError, WorkflowExecutionStatus.CANCELED),
        (
            lambda h: h.terminate("a", 1, reason="stop"),
            TerminatedError,
            WorkflowExecutionStatus.TERMINATED,
        ),
    ],
)
def test_a_run_without_a_result_says_how_it_ended(
    end: Callable[[Any], Awaitable[None]],
    cause: type[Exception],
    status: WorkflowExecutionStatus,
) -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping, ORDER, id="o")
        await end(handle)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, cause)
        assert (await handle.describe()).status is status
        if isinstance(caught.value.cause, ApplicationError):
            assert caught.value.cause.type == "SoldOut"
            assert list(caught.value.cause.details) == ["shelf 7"]
        if isinstance(caught.value.cause, TerminatedError):
            assert caught.value.cause.message == "stop"
            assert list(caught.value.cause.details) == ["a", 1]
        with pytest.raises(WorkflowNotFoundError):
            await handle.signal(Shopping.approve, "late")
        with pytest.raises(WorkflowNotFoundError):
            await handle.cancel()

    with_scheduler(scenario)


def test_timeouts_of_the_run_are_failures_and_those_of_the_wait_are_not() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(
            Shopping.run, ORDER, id="o", execution_timeout=timedelta(seconds=30)
        )
        with pytest.raises(TimeoutError, match="it goes on"):
            await handle.result(timeout=5)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, WorkflowTimeoutError)
        assert (await handle.describe()).status is WorkflowExecutionStatus.TIMED_OUT

    with_scheduler(scenario)


def test_a_closed_run_is_found_when_its_id_is_used_again() -> None:
    async def scenario(world: World) -> None:
        first = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        await first.signal(Shopping.approve, "anna")
        await first.result()
        second = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        assert second.run_id != first.run_id
        again = world.client.get_workflow_handle("o", run_id=first.run_id)
        assert await again.result() == ["o-1", "anna"]
        assert (await again.describe()).status is WorkflowExecutionStatus.COMPLETED
        assert (await again.fetch_history()).run_id == first.run_id
        assert (await second.describe()).status is WorkflowExecutionStatus.RUNNING
        with pytest.raises(WorkflowNotFoundError):
            await again.signal("approve", "x")

    with_scheduler(scenario)


def test_a_result_outlives_its_entry_in_state() -> None:
    async def scenario(world: World) -> None:
        await world.open(retention=60 * SECOND)
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        await handle.signal(Shopping.approve, "anna")
        await handle.result()
        await asyncio.sleep(61)
        assert await world.client.backend.state.read("o") is None
        assert await handle.result() == ["o-1", "anna"]
        assert await world.client.get_workflow_handle("o").result() == ["o-1", "anna"]
        assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
        await world.shut()

    without_scheduler(scenario)


def test_a_description_shows_what_the_run_waits_for() -> None:
    async def scenario(world: World) -> None:
        sleeping = await world.client.start_workflow(Sleeper.run, id="s")
        working = await world.client.start_workflow(Working.run, id="w")
        assert await sleeping.query("status") == await working.query("status") == "running"
        await asyncio.sleep(60)
        (timer,) = (await sleeping.describe()).pending_timers
        assert (timer.duration, timer.purpose) == (3_600 * SECOND, "sleep")
        (activity,) = (await working.describe()).pending_activities
        assert (activity.activity_type, activity.attempt) == ("charge", 1)

    with_scheduler(scenario)


def test_a_query_names_the_newest_event_that_its_client_sent() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        questions: list[dict[str, Any]] = []

        async def answer(data: bytes) -> bytes:
            questions.append(json.loads(data))
            return b'{"ok": true, "result": []}'

        backend = world.store.backend()
        topic = ("query", "default", str(Address("default", "o").slot))
        listening = await backend.messages.answer(topic, answer)
        await handle.query(Shopping.names)
        await handle.signal(Shopping.approve, "anna")
        await handle.query(Shopping.names, "a")
        await listening.close()
        inbox = await backend.log.following(Address("default", "o"), Lane.EXTERNAL, 0)
        assert questions == [
            {"workflow_id": "o", "name": "names"},
            {"workflow_id": "o", "name": "names", "args": ["a"], "after": inbox[-1].seq},
        ]

    without_scheduler(scenario)


def test_a_result_is_told_at_once() -> None:
    async def scenario(world: World) -> None:
        loop = asyncio.get_running_loop()
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(1)
        await handle.signal(Shopping.approve, "anna")
        assert await waiting == ["o-1", "anna"]
        # Virtual time: without the notification it would be the next re-read, at 5 s.
        assert loop.time() < 5

    with_scheduler(scenario)


def test_query_errors_say_why() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        with pytest.raises(WorkflowQueryFailedError, match=r"unknown query 'nome'.*broken, names"):
            await handle.query("nome")
        with pytest.raises(WorkflowQueryFailedError, match="no answer to that") as caught:
            await handle.query(Shopping.broken)
        assert isinstance(caught.value.cause, ApplicationError)
        with pytest.raises(InvalidInputError, match="takes 0 to 1 arguments, got 2"):
            await handle.query(Shopping.names, args=["a", "b"])
        assert await handle.query("status") == "running"
        assert (await handle.describe()).history_length > 0

    with_scheduler(scenario)


def test_without_a_scheduler_status_is_known_and_queries_fail_in_time() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        assert await handle.query("status") == "running"
        description = await handle.describe()
        assert description.status is WorkflowExecutionStatus.RUNNING
        assert (await handle.fetch_history()).events == []
        began = asyncio.get_running_loop().time()
        with pytest.raises(WorkflowQueryFailedError, match="Is one running"):
            await handle.query("names", rpc_timeout=timedelta(seconds=3))
        assert asyncio.get_running_loop().time() - began <= 3.5

    without_scheduler(scenario)


def test_a_query_waits_for_a_scheduler_that_is_about_to_come() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        await handle.signal(Shopping.approve, "anna")
        asking = asyncio.create_task(handle.query(Shopping.names))
        await asyncio.sleep(4)
        await world.open()
        assert await asking == ["anna"]
        await world.shut()

    without_scheduler(scenario)


def test_the_history_shows_events_and_decisions_in_order() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        await handle.signal(Shopping.approve, "anna")
        await handle.result()
        history = await handle.fetch_history()
        types = [event["type"] for event in history.events]
        assert types[0] == "workflow_started"
        assert types[-1] == "complete_workflow"
        assert types.count("workflow_signaled") == 1
        assert [event["event_id"] for event in history.events] == list(range(1, len(types) + 1))
        signal = next(e for e in history.events if e["type"] == "workflow_signaled")
        assert (signal["name"], signal["args"], signal["sender"]) == ("approve", ["anna"], "tests")
        assert json.loads(history.to_json())["run_id"] == handle.run_id

    with_scheduler(scenario)
