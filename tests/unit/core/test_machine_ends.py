"""How a run begins and ends: starts, cancellation, termination, timeouts, failures, disposal."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest
from support.driver import RUN, START, Driver, flow, kinds

from perdure import workflow
from perdure.core import commands as co
from perdure.core import events as ev
from perdure.core.definitions import Signature
from perdure.core.durations import SECOND
from perdure.core.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TerminatedError,
)
from perdure.core.errors import TimeoutError as DeadlineError
from perdure.core.failures import Failure

type Drive = Callable[..., Driver]
S5 = timedelta(seconds=5)


def call(name: str = "work", *args: Any) -> Any:
    return workflow.execute_activity(name, args=args, start_to_close_timeout=S5)


# starts


class Built:
    def __init__(self, name: str = "nobody", size: int = 0) -> None:
        self.name, self.size = name, size


def test_init_takes_the_arguments_of_run(drive: Drive) -> None:
    async def run(self: Built, name: str, size: int) -> Any:
        return [self.name, self.size, name, size]

    signature = Signature(types=(str, int), required=2)
    d = drive(flow(run, cls=Built, signature=signature, init_takes_args=True), "box", 3)
    assert d.result() == ["box", 3, "box", 3]
    assert drive(flow(run, cls=Built), "x", 1).result() == ["nobody", 0, "x", 1]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "InvalidInputError: workflow 'Test' takes 1 argument(s), got 0"),
        ((1, 2), "InvalidInputError: workflow 'Test' takes 1 argument(s), got 2"),
        (("x",), "InvalidInputError: workflow 'Test': argument 1 does not fit"),
    ],
)
def test_wrong_arguments_fail_the_run(drive: Drive, args: tuple[Any, ...], text: str) -> None:
    async def run(self: Any, number: int) -> None:
        raise AssertionError("never reached")

    d = drive(flow(run, signature=Signature(types=(int,), required=1)), *args)
    assert kinds(d.commands) == ["fail_workflow: application"]
    with pytest.raises(ApplicationError) as error:
        d.result()
    assert str(error.value).startswith(text)
    d.signal("anything")
    assert d.instance.unhandled_signals == []


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_a_constructor_that_raises_fails_the_run(drive: Drive, kind: type[BaseException]) -> None:
    class Broken:
        def __init__(self) -> None:
            raise kind("cannot")

    d = drive(flow(call, cls=Broken))
    with pytest.raises(ApplicationError, match=f"{kind.__name__}: cannot"):
        d.result()


def test_a_second_start_changes_nothing(drive: Drive) -> None:
    d = drive(flow(lambda self: call()))
    assert d.feed(d.started) == []


def test_info(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        info = workflow.info()
        assert workflow.instance() is self
        assert workflow.payload_converter() is not None
        return [
            info.workflow_id,
            info.run_id,
            info.workflow_type,
            info.task_queue,
            info.namespace,
            info.attempt,
            info.first_execution_run_id,
            info.start_time.timestamp(),
            None if info.run_timeout is None else info.run_timeout.total_seconds(),
            None if info.execution_timeout is None else info.execution_timeout.total_seconds(),
        ]

    common = ["wf-1", RUN, "Test", "default", "default"]
    moment = START / SECOND
    assert drive(flow(run)).result() == [*common, 1, RUN, moment, None, None]
    full = drive(
        flow(run), attempt=2, first_run="r0", run_timeout=9 * SECOND, execution_timeout=8 * SECOND
    )
    assert full.result() == [*common, 2, "r0", moment, 9, 8]
    assert kinds(full.commands) == ["complete_workflow"]


def test_history_length(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        first = workflow.get_current_history_length()
        await call()
        return [first, workflow.info().get_current_history_length()]

    d = drive(flow(run))
    d.done(1)
    assert d.result() == [1, 3]  # the start; then its command and the result
    assert d.instance.host.history_length == 4


# cancellation


def test_cancellation_reaches_the_code(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        assert workflow.cancellation_reason() is None
        try:
            await asyncio.sleep(50)
        finally:
            self.reason = workflow.cancellation_reason()

    d = drive(flow(run))
    assert kinds(d.cancel("enough")) == ["cancel_timer 1", "cancel_workflow"]
    assert d.instance.host.instance.reason == "enough"
    with pytest.raises(CancelledError, match="enough"):
        d.result()


def test_cleanup_after_a_cancellation(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        try:
            await call("work")
        except ActivityError:
            await call("undo")
            raise

    d = drive(flow(run))
    assert kinds(d.cancel()) == ["cancel_activity 1", "schedule_activity 2: undo"]
    assert d.cancel("again") == []
    assert kinds(d.done(2)) == ["cancel_workflow"]
    with pytest.raises(CancelledError, match="Workflow cancelled"):
        d.result()


def test_a_shield_keeps_an_activity_going(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        work = asyncio.create_task(call("work"))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            return await work

    d = drive(flow(run))
    assert d.cancel() == []
    d.done(1, "finished")
    assert d.result() == "finished"


def test_a_swallowed_cancellation_is_over(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        return await call()

    d = drive(flow(run))
    d.cancel()
    assert d.cancel() == []
    d.done(2, "ok")
    assert d.result() == "ok"


def test_another_failure_while_cancelling_is_a_failure(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        try:
            await asyncio.sleep(5)
        finally:
            raise ValueError("cleanup broke")

    d = drive(flow(run))
    assert kinds(d.cancel())[-1] == "fail_workflow: application"


def test_a_group_of_cancellations_is_a_cancellation(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(call())
            group.create_task(call())

    d = drive(flow(run))
    assert kinds(d.cancel()) == ["cancel_activity 1", "cancel_activity 2", "cancel_workflow"]


def test_cancelling_oneself_is_a_failure(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        raise asyncio.CancelledError

    d = drive(flow(run))
    with pytest.raises(ApplicationError, match="cancelled by the workflow's own code"):
        d.result()


def test_a_cancellation_before_the_start_counts_from_it(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        await asyncio.sleep(5)

    d = drive(flow(run), start=False)
    assert d.cancel("early") == []
    assert kinds(d.start()) == ["cancel_workflow"]


def test_the_same_cancel_request_twice(drive: Drive) -> None:
    d = drive(flow(lambda self: call()))
    d.signal("x", eid="same")
    assert d.feed(ev.WorkflowCancelRequested(eid="same")) == []


# other ends


def test_termination_asks_nobody(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        try:
            await asyncio.gather(call(), asyncio.sleep(50))
        finally:
            await call("never")

    d = drive(flow(run))
    assert kinds(d.terminate("stop it")) == [
        "cancel_activity 1",
        "cancel_timer 2",
        "terminate_workflow",
    ]
    with pytest.raises(TerminatedError, match="stop it"):
        d.result()
    assert d.done(1) == d.signal("x") == d.cancel() == d.terminate() == []
    d.instance.dispose()
    assert drive(flow(run)).terminate()[-1] == co.TerminateWorkflow(
        failure=Failure(message="Workflow terminated", kind="terminated")
    )


@pytest.mark.parametrize("limit", [{"run_timeout": 9 * SECOND}, {"execution_timeout": 9 * SECOND}])
def test_a_run_that_takes_too_long(drive: Drive, limit: dict[str, int]) -> None:
    d = drive(flow(lambda self: call()), **limit)
    assert kinds(d.commands) == ["start_timer 1: run_timeout", "schedule_activity 2: work"]
    assert kinds(d.fire(1)) == ["cancel_activity 2", "fail_workflow: timeout"]
    with pytest.raises(DeadlineError, match="Workflow timed out"):
        d.result()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ValueError("plain"), "ValueError: plain"),
        (lambda: SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt, "KeyboardInterrupt: KeyboardInterrupt"),
        (lambda: ApplicationError("mine", 1, type="Mine"), "Mine: mine"),
        (asyncio.TimeoutError, "TimeoutError: TimeoutError"),
        (
            lambda: ApplicationError("odd", type=cast("Any", ValueError)),
            "<class 'ValueError'>: odd",
        ),
        (lambda: ApplicationError("odd", next_retry_delay=cast("Any", 5)), "odd"),
    ],
)
@pytest.mark.parametrize("where", ["run", "signal"])
def test_what_leaves_the_code_fails_the_run(
    drive: Drive, make: Callable[[], BaseException], text: str, where: str
) -> None:
    async def run(self: Any) -> Any:
        if where == "run":
            raise make()
        await asyncio.sleep(50)

    async def strike(self: Any) -> None:
        raise make()

    d = drive(flow(run, signals={"strike": strike}))
    d.signal("strike")
    close = d.instance.close
    assert isinstance(close, co.FailWorkflow)
    wire = ev.encode_event(
        ev.ActivityFailed(
            run="r", n=1, attempt=1, activity_type="a", retry_state=0, failure=close.failure
        )
    )
    ev.decode_event(wire)
    with pytest.raises(ApplicationError) as error:
        d.result()
    assert str(error.value) == text
    assert error.value.stack_trace


def test_a_result_that_cannot_be_written(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        return object()

    d = drive(flow(run))
    with pytest.raises(ApplicationError, match="Cannot write a value of type object"):
        d.result()


def test_the_close_takes_everything_back(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        tasks = [asyncio.create_task(call()), asyncio.create_task(asyncio.sleep(50))]
        await call("last")
        return len(tasks)

    d = drive(flow(run), run_timeout=SECOND * 999)
    assert kinds(d.done(2)) == [
        "cancel_activity 3",
        "cancel_timer 1",
        "cancel_timer 4",
        "complete_workflow",
    ]
    assert d.instance.pending_activities() == [] == d.instance.pending_timers()
