"""The client against a real scheduler over memory: what a program sees."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scenarios.doors.client_workflows import Order, Shopping, Sleeper, Working

from perdure.adapters.memory.backend import MemoryStore
from perdure.authoring.app import App
from perdure.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.converter import DataConverter
from perdure.core.durations import SECOND
from perdure.core.errors import (
    ApplicationError,
    CancelledError,
    InvalidInputError,
    TerminatedError,
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
    WorkflowQueryFailedError,
)
from perdure.core.errors import TimeoutError as WorkflowTimeoutError
from perdure.engine.scheduler import Scheduler, SchedulerOptions
from perdure.testing.virtual_time import run

ORDER = Order("o-1", [1, 2])


class World:
    """A store, a client, and a scheduler while it is wanted."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.client = Client.from_backend(self.store.backend(), identity="tests")
        self._scheduler = AsyncExitStack()

    async def open(self, **options: Any) -> None:
        app = App(workflows=[Shopping, Sleeper, Working])
        scheduler = Scheduler(
            self.store.backend(),
            app,
            converter=DataConverter.default().payload_converter,
            options=SchedulerOptions(**options),
        )
        await self._scheduler.enter_async_context(scheduler)

    async def shut(self) -> None:
        await self._scheduler.aclose()


def with_scheduler(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        await world.open()
        try:
            await scenario(world)
        finally:
            await world.shut()

    run(whole())


def without_scheduler(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario(World())

    run(whole())


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


def test_an_unknown_id_shows_on_use() -> None:
    async def scenario(world: World) -> None:
        handle = world.client.get_workflow_handle("nobody")
        for use in (
            handle.result(),
            handle.signal("approve", "x"),
            handle.query("names"),
            handle.query("status"),
            handle.cancel(),
            handle.terminate(),
            handle.describe(),
            handle.fetch_history(),
        ):
            with pytest.raises(WorkflowNotFoundError, match="nobody"):
                await use

    without_scheduler(scenario)


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


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 513}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": 7}, "id"),
        ({"task_queue": ""}, "task_queue"),
        ({"execution_timeout": timedelta(0)}, "execution_timeout"),
        ({"execution_timeout": "soon"}, "execution_timeout"),
        ({"run_timeout": timedelta(days=200 * 365)}, "run_timeout"),
        ({"rpc_timeout": timedelta(seconds=-1)}, "rpc_timeout"),
        ({"memo": [1]}, "memo"),
        ({"memo": {"a": object()}}, "memo"),
        ({"search_attributes": {"a": {}}}, "search_attributes"),
        ({"search_attributes": {"a": datetime(2026, 1, 1)}}, "search_attributes"),
        ({"id_reuse_policy": 1}, "id_reuse_policy"),
        ({"id_conflict_policy": "fail"}, "id_conflict_policy"),
        ({"args": "order"}, "args"),
        ({"args": []}, "args"),
        ({"args": [ORDER, 1, 2]}, "args"),
        ({"args": ["order"]}, "args[0]"),
        ({"args": [ORDER, "two"]}, "args[1]"),
        ({"args": [object()]}, "args[0]"),
        ({"request_id": ""}, "request_id"),
        (
            {
                "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
                "id_conflict_policy": WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            },
            "id_conflict_policy",
        ),
    ],
)
def test_bad_input_names_its_field_and_nothing_is_stored(
    options: dict[str, Any], field: str
) -> None:
    async def scenario(world: World) -> None:
        given: dict[str, Any] = {"id": "o", "args": [ORDER], **options}
        with pytest.raises(InvalidInputError) as caught:
            await world.client.start_workflow(Shopping.run, **given)
        assert caught.value.field == field
        assert [entry async for entry in world.client.backend.state.scan()] == []

    without_scheduler(scenario)


def test_what_is_no_workflow_and_no_option_is_a_type_error() -> None:
    async def scenario(world: World) -> None:
        start: Any = world.client.start_workflow
        with pytest.raises(TypeError, match=r"@workflow\.defn"):
            await start(Order, ORDER, id="o")
        with pytest.raises(TypeError, match="cron_schedule"):
            await start(Shopping.run, ORDER, id="o", cron_schedule="* * * * *")
        with pytest.raises(TypeError, match="'id'"):
            await start(Shopping.run, ORDER)
        with pytest.raises(InvalidInputError, match="not both"):
            await start(Shopping.run, ORDER, args=[ORDER], id="o")
        with pytest.raises(InvalidInputError):
            await start("", ORDER, id="o")
        handle = await start(Shopping.run, ORDER, id="o", task_timeout=timedelta(seconds=1))
        with pytest.raises(TypeError, match=r"@workflow\.signal"):
            await handle.signal(Shopping.names, "x")
        with pytest.raises(InvalidInputError, match="signal 'approve'"):
            await handle.signal(Shopping.approve, 7)
        with pytest.raises(InvalidInputError, match="signal 'approve'"):
            await handle.signal(Shopping.approve)

    without_scheduler(scenario)


def test_policies_and_request_ids_of_starts() -> None:
    async def scenario(world: World) -> None:
        start = world.client.start_workflow
        first = await start("Shopping", ORDER, id="o", request_id="r-1")
        again = await start("Shopping", ORDER, id="o", request_id="r-1")
        assert first.run_id == again.run_id == first.first_execution_run_id
        with pytest.raises(WorkflowAlreadyStartedError):
            await start("Shopping", ORDER, id="o")
        existing = await start(
            "Shopping", ORDER, id="o", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )
        assert existing.run_id == first.run_id
        replacing = await start(
            "Shopping",
            ORDER,
            id="o",
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            search_attributes={"Since": datetime(2026, 1, 1, tzinfo=UTC), "Tags": ["a"]},
        )
        assert replacing.run_id != first.run_id
        with pytest.raises(WorkflowFailureError):
            await first.result()
        described = await replacing.describe()
        assert described.search_attributes == {
            "Since": "2026-01-01T00:00:00+00:00",
            "Tags": ["a"],
        }

    with_scheduler(scenario)


def test_another_client_over_the_same_connection() -> None:
    async def scenario(world: World) -> None:
        config = world.client.config()
        config["identity"] = "other"
        other = Client(**config)
        assert (other.identity, other.namespace) == ("other", "default")
        async with other:
            await other.start_workflow("sleeper", id="s")
        assert await world.client.get_workflow_handle("s").query("status") == "running"

    without_scheduler(scenario)


def test_an_unreachable_store_is_a_typed_error() -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, ORDER, id="o")
        world.store.crash(world.client.backend)
        quick = timedelta(seconds=2)
        for use in (
            handle.signal("approve", "x", rpc_timeout=quick),
            handle.describe(rpc_timeout=quick),
            handle.query("names", rpc_timeout=quick),
            handle.fetch_history(rpc_timeout=quick),
            world.client.start_workflow(Shopping.run, ORDER, id="p", rpc_timeout=quick),
        ):
            with pytest.raises(UnavailableError):
                await use

    without_scheduler(scenario)
