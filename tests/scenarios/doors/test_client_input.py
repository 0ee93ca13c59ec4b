"""What the client takes and refuses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scenarios.doors.client_workflows import Order, Shopping
from scenarios.doors.client_world import ORDER, World, with_scheduler, without_scheduler

from perdure.client import (
    Client,
    WorkflowFailureError,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.core.errors import (
    InvalidInputError,
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
)


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
