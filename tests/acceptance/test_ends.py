"""Cancellation, termination and timeouts on a real server."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import activity, workflow
from perdure.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowNotFoundError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, CancelledError, TimeoutError, is_cancelled_exception

pytestmark = pytest.mark.integration

Town = Callable[[Callable[[Any], Any]], None]
LIMIT = timedelta(seconds=20)


@activity.defn
async def clean_up() -> str:
    return "clean"


@activity.defn
async def always_fails() -> None:
    raise RuntimeError("never")


@activity.defn
async def hang_on() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(60)


@workflow.defn
class Tidy:
    """Cleans up, then ends as cancelled; or ends as if nothing had been, when told so."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @workflow.run
    async def run(self, stubborn: bool = False) -> list[str]:
        try:
            await workflow.wait_condition(lambda: False, timeout=timedelta(days=7))
        except asyncio.CancelledError:
            self.log.append(await workflow.execute_activity(clean_up, start_to_close_timeout=LIMIT))
            if not stubborn:
                raise
            await workflow.wait_condition(lambda: "go" in self.log)
        return self.log

    @workflow.signal
    def go(self) -> None:
        self.log.append("go")

    @workflow.query
    def seen(self) -> list[str]:
        return self.log


@workflow.defn
class Patient:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            always_fails,
            start_to_close_timeout=LIMIT,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=30)),
        )


@workflow.defn
class Holding:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(
                hang_on, start_to_close_timeout=LIMIT, heartbeat_timeout=timedelta(seconds=1)
            )
        except ActivityError as error:
            assert is_cancelled_exception(error)
            assert isinstance(error.cause, CancelledError)
            raise
        return "never"


async def started(here: Any, code: Any, *args: Any, **options: Any) -> Any:
    return await here.client.start_workflow(
        code.run, *args, id=code.__name__, task_queue="default", **options
    )


async def assert_canceled(handle: Any) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    last = (await handle.fetch_history()).events[-1]
    assert (last["type"], last["closes"]) == ("cancel_workflow", True)


@pytest.mark.parametrize("code", [Sleeper, Tidy, Patient, Holding])
def test_cancel_ends_what_waits(town: Town, code: Any) -> None:
    async def scenario(here: Any) -> None:
        await here.work(code, clean_up, always_fails, hang_on)
        handle = await started(here, code)
        if code in (Patient, Holding):
            while not (await handle.describe()).pending_activities:
                await asyncio.sleep(0.01)
        await handle.cancel()
        await assert_canceled(handle)

    town(scenario)


def test_cancelling_again_and_afterwards(town: Town) -> None:
    async def scenario(here: Any) -> None:
        handle = await started(here, Tidy)
        await handle.cancel("one")
        await handle.cancel("two")
        await here.work(Tidy, clean_up)
        await assert_canceled(handle)
        with pytest.raises(WorkflowNotFoundError):
            await handle.cancel()
        assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED

    town(scenario)


def test_code_that_goes_on_runs_until_it_ends(town: Town) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Tidy, clean_up)
        handle = await started(here, Tidy, True)
        await handle.cancel()
        while await handle.query(Tidy.seen) != ["clean"]:
            await asyncio.sleep(0.01)
        assert await handle.query("status") == "running"
        await handle.signal(Tidy.go)
        assert await handle.result() == ["clean", "go"]
        assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
        stubborn = await here.client.start_workflow(
            Tidy.run, True, id="stubborn", task_queue="default"
        )
        await stubborn.cancel()
        await stubborn.terminate(reason="enough")
        with pytest.raises(WorkflowFailureError, match="enough"):
            await stubborn.result()

    town(scenario)


@pytest.mark.parametrize("option", ["execution_timeout", "run_timeout"])
def test_a_timeout_ends_the_whole_workflow(town: Town, option: str) -> None:
    async def scenario(here: Any) -> None:
        await here.work(Tidy, clean_up)
        handle = await started(here, Tidy, **{option: timedelta(seconds=0.5)})
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, TimeoutError)
        description = await handle.describe()
        assert description.status is WorkflowExecutionStatus.TIMED_OUT
        assert description.close_time - description.start_time >= timedelta(seconds=0.5)

    town(scenario)


def test_a_timeout_that_passed_while_nobody_served_ends_it_before_any_code(town: Town) -> None:
    async def scenario(here: Any) -> None:
        handle = await started(here, Tidy, execution_timeout=timedelta(seconds=0.1))
        with pytest.raises(asyncio.TimeoutError):
            await handle.result(timeout=0.3)
        await here.work(Tidy, clean_up)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert (await handle.describe()).status is WorkflowExecutionStatus.TIMED_OUT

    town(scenario)
