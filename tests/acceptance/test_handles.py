"""Starting workflows and holding their handles."""

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.client import (
    InvalidInputError,
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
    WorkflowNotFoundError,
)
from perdure.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError

pytestmark = pytest.mark.integration

Town = Callable[[Callable[[Any], Any]], None]
ODD_IDS = ["order:123", "a b", "user@x/1", "é", "x" * 200, "a.b.*.>", "🙂", "-", "$SYS"]


@workflow.defn
class Door:
    """Waits to be opened, and says what it was given."""

    def __init__(self) -> None:
        self.opened: list[Any] = []

    @workflow.run
    async def run(self, given: Any = None) -> Any:
        await workflow.wait_condition(lambda: bool(self.opened))
        return [given, self.opened]

    @workflow.signal
    def open(self, how: str = "gently") -> None:
        self.opened.append(how)

    @workflow.query
    def state(self) -> list[Any]:
        return self.opened


@workflow.defn
class Quick:
    @workflow.run
    async def run(self, number: int = 0) -> int:
        if number < 0:
            raise ValueError(f"boom {number}")
        return number + 1


@workflow.defn
class Long:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(timedelta(days=3))


def test_whatever_prints_is_an_id(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Door)
        for id in ODD_IDS:
            handle = await here.client.start_workflow(Door.run, id, id=id, task_queue="default")
            await handle.signal(Door.open, "wide")
            assert await handle.query(Door.state) == ["wide"]
            assert await handle.result() == [id, ["wide"]]
            assert (await handle.describe()).id == id
            assert (await handle.fetch_history()).workflow_id == id

    town(scenario)


def test_a_handle_knows_its_workflow(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Door, Quick)
        given = {"sizes": [1, 2.5, None], "name": "Ada"}
        handle = await here.client.start_workflow(Door.run, given, id="door", task_queue="default")
        description = await handle.describe()
        assert (handle.id, bool(handle.run_id)) == ("door", True)
        assert uuid.UUID(handle.run_id)
        assert description.run_id == handle.run_id == handle.result_run_id
        assert description.status is WorkflowExecutionStatus.RUNNING
        assert await handle.query("status") == "running"
        assert description.close_time is None
        later = await here.another_client()
        other = later.get_workflow_handle("door")
        waiting = [asyncio.create_task(one.result()) for one in (handle, other, handle)]
        await other.signal("open")
        results = await asyncio.gather(*waiting)
        assert results == [[given, ["gently"]]] * 3
        assert await other.result() == results[0]
        description = await other.describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED
        assert description.start_time < description.close_time
        first = (await other.fetch_history()).events[0]
        assert first["args"] == [given]

    town(scenario)


def test_waiting_may_end_before_the_workflow_does(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Door)
        handle = await here.client.start_workflow(Door.run, id="slow", task_queue="default")
        with pytest.raises(asyncio.TimeoutError, match=r"'slow' has no result yet.*goes on"):
            await handle.result(timeout=0.2)
        await handle.signal(Door.open)
        assert await handle.result() == [None, ["gently"]]

    town(scenario)


def test_an_id_is_taken_while_its_run_is_open(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Door, Quick)
        start = here.client.start_workflow
        first = await start(Door.run, 1, id="one", task_queue="default")
        with pytest.raises(WorkflowAlreadyStartedError, match="one") as caught:
            await start(Door.run, 2, id="one", task_queue="default")
        assert caught.value.workflow_id == "one"
        assert caught.value.workflow_type == "Door"
        same = await start(
            Door.run,
            3,
            id="one",
            task_queue="default",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        assert same.run_id == first.run_id
        await first.signal(Door.open)
        assert (await first.result())[0] == 1
        with pytest.raises(WorkflowAlreadyStartedError):
            await start(
                Quick.run,
                id="one",
                task_queue="default",
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
        second = await start(Door.run, 4, id="one", task_queue="default")
        assert second.run_id != first.run_id
        third = await start(
            Quick.run,
            5,
            id="one",
            task_queue="default",
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        )
        assert await third.result() == 6
        with pytest.raises(WorkflowFailureError) as ended:
            await second.result()
        assert isinstance(ended.value.cause, TerminatedError)
        assert (await first.result())[0] == 1, "a handle keeps to its own run"

    town(scenario)


def test_what_did_not_complete_says_how_it_ended(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Quick, Long)

        async def end_of(handle: Any) -> BaseException:
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()
            assert caught.value.cause is not None
            return caught.value.cause

        async def started(code: Any, *args: Any, id: str, **options: Any) -> Any:
            return await here.client.start_workflow(
                code, *args, id=id, task_queue="default", **options
            )

        failed = await started(Quick.run, -1, id="failed")
        cause = await end_of(failed)
        assert isinstance(cause, ApplicationError)
        assert (cause.type, cause.message) == ("ValueError", "boom -1")
        canceled = await started(Long.run, id="canceled")
        await canceled.cancel("enough")
        assert isinstance(await end_of(canceled), CancelledError)
        terminated = await started(Long.run, id="terminated")
        await terminated.terminate("detail", reason="power cut")
        cause = await end_of(terminated)
        assert isinstance(cause, TerminatedError)
        assert (cause.message, list(cause.details)) == ("power cut", ["detail"])
        late = await started(Long.run, id="late", execution_timeout=timedelta(seconds=0.3))
        assert isinstance(await end_of(late), TimeoutError)
        statuses = [await handle.query("status") for handle in (failed, canceled, terminated, late)]
        assert statuses == ["failed", "canceled", "terminated", "timed_out"]
        for handle in (failed, canceled, terminated, late):
            with pytest.raises(WorkflowNotFoundError):
                await handle.cancel()
            with pytest.raises(WorkflowNotFoundError):
                await handle.signal("any")
        assert await canceled.query("status") == "canceled"

    town(scenario)


def test_what_is_reported_as_done_is_stored_as_done(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Quick)
        reader = await here.another_client()

        async def one(number: int) -> None:
            id = f"done-{number}"
            result = await here.client.execute_workflow(
                Quick.run, number, id=id, task_queue="default"
            )
            other = reader.get_workflow_handle(id)
            assert result == number + 1
            assert await other.query("status") == "completed"
            assert (await other.describe()).status is WorkflowExecutionStatus.COMPLETED

        for start in range(0, 300, 30):
            await asyncio.gather(*(one(start + number) for number in range(30)))

    town(scenario)


def test_a_workflow_outlives_its_starter(town: Town) -> None:
    async def scenario(here: Any) -> None:
        starter = await here.another_client()
        async with starter:
            await starter.start_workflow(Quick.run, 41, id="orphan", task_queue="default")
        await here.work(Quick)
        assert await here.client.get_workflow_handle("orphan").result() == 42

    town(scenario)


def test_a_typed_handle_decodes_the_result(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Quick)
        await here.client.start_workflow("Quick", 1, id="typed", task_queue="default")
        assert await here.client.get_workflow_handle_for(Quick.run, "typed").result() == 2
        text = here.client.get_workflow_handle("typed", result_type=float)
        assert isinstance(await text.result(), float)

    town(scenario)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id": ""}, "id cannot be empty|id must not be empty"),
        ({"id": "x" * 513}, r"512"),
        ({"id": "a\nb"}, "print"),
        ({"id": "a", "task_queue": ""}, "task_queue"),
        ({"id": "a", "execution_timeout": timedelta(0)}, "execution_timeout"),
        ({"id": "a", "args": [object()]}, "argument|encode|written"),
    ],
)
def test_a_request_that_can_never_work_names_field_and_limit(
    town: Town, options: dict[str, Any], words: str
) -> None:
    async def scenario(here: Any) -> None:
        with pytest.raises((InvalidInputError, TypeError), match=words):
            await here.client.start_workflow(Quick.run, **{"task_queue": "default", **options})

    town(scenario)


def test_unknown_ids_show_on_use(town: Town) -> None:
    async def scenario(here: Any) -> None:
        handle = here.client.get_workflow_handle("nobody")
        for call in (
            handle.result(),
            handle.describe(),
            handle.query("status"),
            handle.query("anything"),
            handle.signal("go"),
            handle.cancel(),
            handle.terminate(),
            handle.fetch_history(),
        ):
            with pytest.raises(WorkflowNotFoundError, match="'nobody'"):
                await call

    town(scenario)


def test_a_handle_whose_client_was_closed_says_so_at_once(town: Town) -> None:
    async def scenario(here: Any) -> None:
        client = await here.another_client()
        handle = await client.start_workflow(Long.run, id="long", task_queue="default")
        waiting = asyncio.create_task(handle.result())
        await handle.describe()
        await client.close()
        for call in (
            waiting,
            handle.result(),
            handle.query("status"),
            handle.describe(),
            handle.signal("any"),
            client.start_workflow(Long.run, id="longer", task_queue="default"),
        ):
            with pytest.raises(UnavailableError, match=r"closed here\. Connect anew"):
                await call

    town(scenario)
