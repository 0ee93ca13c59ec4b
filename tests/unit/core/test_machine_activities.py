"""Activities as a run sees them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw
from support.driver import RUN, START, Driver, flow, kinds, pack

from perdure import workflow
from perdure.core import commands as co
from perdure.core import events as ev
from perdure.core.durations import SECOND
from perdure.core.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    RetryState,
    TimeoutType,
)
from perdure.core.errors import TimeoutError as DeadlineError
from perdure.core.failures import Failure
from perdure.workflow import ActivityCancellationType as Type

type Drive = Callable[..., Driver]
S5 = timedelta(seconds=5)


def call(name: str = "work", *args: Any, **options: Any) -> Any:
    options.setdefault("start_to_close_timeout", S5)
    return workflow.execute_activity(name, args=args, **options)


def begin(name: str = "work", **options: Any) -> Any:
    options.setdefault("start_to_close_timeout", S5)
    return workflow.start_activity(name, **options)


def caught(error: BaseException) -> list[str]:
    """The error and its causes, as text."""
    lines: list[str] = []
    at: BaseException | None = error
    while at is not None:
        lines.append(f"{type(at).__name__}: {at}")
        at = at.__cause__
    return lines


async def one(self: Any, **options: Any) -> Any:
    return await call(**options)


def test_a_result_comes_back(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        return [await call("add", 1, "x", summary="s", activity_id=None), await call("next")]

    d = drive(flow(run), headers={"traceparent": "00-1", "other": "x"})
    (schedule,) = d.commands
    assert schedule == co.ScheduleActivity(
        n=1,
        activity_type="add",
        activity_id="1",
        task_queue="default",
        args=[pack(1), pack("x")],
        start_to_close=5 * SECOND,
        scheduled_at=START,
        headers={"traceparent": "00-1"},
        summary="s",
    )
    assert kinds(d.done(1, {"a": 1})) == ["schedule_activity 2: next"]
    assert kinds(d.done(2, 5)) == ["complete_workflow"]
    assert d.result() == [{"a": 1}, 5]


def test_another_queue_is_remembered(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        await asyncio.gather(call(task_queue="gpu"), call(task_queue="default"))

    d = drive(flow(run))
    assert d.instance.queues == {1: "gpu"}
    assert [a.command.n for a in d.instance.pending_activities()] == [1, 2]


def test_a_failure_carries_its_causes(drive: Drive) -> None:
    seen: list[ActivityError] = []

    async def run(self: Any) -> Any:
        try:
            await call()
        except ActivityError as error:
            seen.append(error)
            raise

    d = drive(flow(run))
    root = Failure(message="disk full", type="OSError")
    d.failed(1, Failure(message="no", type="Refused", cause=root), attempt=3)
    error = seen[0]
    assert caught(error) == [
        "ActivityError: Activity task failed: work after 3 attempt(s): Refused: no",
        "ApplicationError: Refused: no",
        "ApplicationError: OSError: disk full",
    ]
    assert error.retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED
    assert (error.activity_type, error.activity_id, error.attempt) == ("work", "1", 3)
    assert kinds(d.commands)[-1] == "fail_workflow: activity"
    with pytest.raises(ActivityError, match="Activity task failed") as again:
        d.result()
    assert isinstance(again.value.cause, ApplicationError)


def test_a_failure_of_a_newer_build_still_fails(drive: Drive) -> None:
    d = drive(flow(one))
    strange = Failure(message="x", category=99, details=[Raw(b'{"$payload": 5}')])
    d.failed(1, strange, retry_state=77)
    with pytest.raises(ActivityError) as caught_error:
        d.result()
    assert caught_error.value.retry_state is None


def test_a_result_that_does_not_fit_fails_the_workflow(drive: Drive) -> None:
    d = drive(flow(lambda self: call(result_type=int)))
    d.done(1, "five")
    with pytest.raises(ApplicationError, match="SerializationError: a payload does not fit"):
        d.result()


def test_canceled_by_the_worker(drive: Drive) -> None:
    d = drive(flow(one))
    d.canceled(1)
    with pytest.raises(ActivityError, match="Activity cancelled") as error:
        d.result()
    assert isinstance(error.value.cause, CancelledError)
    assert kinds(d.commands)[-1] == "fail_workflow: activity"  # nobody asked the run to cancel


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (Type.TRY_CANCEL, ["cancel_activity 1"]),
        (Type.WAIT_CANCELLATION_COMPLETED, ["cancel_activity 1"]),
        (Type.ABANDON, []),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_cancelling_a_handle(drive: Drive, kind: Type, sent: list[str], at_once: bool) -> None:
    async def run(self: Any) -> Any:
        handle = begin(cancellation_type=kind)
        if not at_once:
            await workflow.wait_condition(lambda: self.go)
        handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            return caught(error), error.retry_state

    def go(self: Any) -> None:
        self.go = True

    class Flow:
        go = False

    d = drive(flow(run, cls=Flow, signals={"go": go}))
    commands = kinds(d.log[0].commands)[1:] if at_once else kinds(d.signal("go"))
    waits = kind is Type.WAIT_CANCELLATION_COMPLETED
    assert commands == sent + ([] if waits else ["complete_workflow"])
    if waits:
        assert d.instance.close is None
        d.canceled(1)
    text = ["ActivityError: Activity cancelled", "CancelledError: Cancelled"]
    assert d.result() == [text, None if waits else RetryState.CANCEL_REQUESTED]


def test_waiting_for_a_cancellation_takes_what_comes(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        handle = begin(cancellation_type=Type.WAIT_CANCELLATION_COMPLETED)
        handle.cancel()
        await asyncio.sleep(0)
        handle.cancel()
        return await handle

    d = drive(flow(run))
    assert kinds(d.commands) == ["schedule_activity 1: work", "cancel_activity 1"]
    assert d.commands[1] == co.CancelActivity(n=1, forget=False)
    d.done(1, "made it")
    assert d.result() == "made it"


def test_a_cancellation_after_the_outcome_changes_nothing(drive: Drive) -> None:
    handles: list[Any] = []

    async def run(self: Any) -> Any:
        handles.append(begin(cancellation_type=Type.WAIT_CANCELLATION_COMPLETED))
        return await handles[0]

    d = Driver(flow(run))
    d.start()
    d.instance.ledger.activities[1].settle(pack("first"), 1, 0)
    handles[0].cancel()
    d.instance.host.loop.run_ready()
    assert d.result() == "first"


def test_outcomes_count_once(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        first = await call("a")
        return [first, await call("b")]

    d = drive(flow(run))
    d.done(1, 1)
    assert d.done(1, "again") == []
    assert d.failed(1, "late") == []
    assert d.canceled(1) == []
    assert d.backoff(1, attempt=1, delay=40) == []
    assert d.feed(ev.ActivityStarted(run=RUN, n=1, attempt=1)) == []
    d.done(2, 2)
    assert d.done(2, 3) == []
    assert d.result() == [1, 2]


def test_an_outcome_of_another_activity_is_ignored_and_the_right_one_counts(drive: Drive) -> None:
    d = drive(flow(one))
    assert d.done(1, "wrong", activity_type="other") == []
    assert d.feed(ev.ActivityCompleted(run=RUN, n=9, attempt=1, activity_type="work")) == []
    d.done(1, "right")
    assert d.result() == "right"


def test_another_runs_outcome_is_ignored(drive: Drive) -> None:
    d = drive(flow(one))
    assert d.feed(ev.ActivityCompleted(run="other", n=1, attempt=1, activity_type="work")) == []
    assert d.instance.close is None


def test_schedule_to_close(drive: Drive) -> None:
    d = drive(flow(lambda self: call(schedule_to_close_timeout=timedelta(seconds=60))))
    assert kinds(d.commands) == ["schedule_activity 1: work", "start_timer 2: schedule_to_close"]
    assert [t.of for t in d.instance.pending_timers()] == [1]
    d.backoff(1, attempt=2, delay=100)
    assert kinds(d.fire(2)) == ["cancel_activity 1", "cancel_timer 3", "fail_workflow: activity"]
    with pytest.raises(ActivityError) as error:
        d.result()
    assert caught(error.value) == [
        "ActivityError: Activity task timed out: activity work missed its schedule_to_close "
        "timeout (attempt 2)",
        "TimeoutError: activity work missed its schedule_to_close timeout",
        "ApplicationError: oops",
    ]
    assert isinstance(error.value.cause, DeadlineError)
    assert error.value.cause.type is TimeoutType.SCHEDULE_TO_CLOSE
    assert error.value.retry_state is RetryState.TIMEOUT


def test_deadlines_go_with_the_outcome(drive: Drive) -> None:
    options: dict[str, Any] = {"schedule_to_close_timeout": S5, "schedule_to_start_timeout": S5}
    d = drive(flow(lambda self: call(**options)))
    assert kinds(d.done(1, 1)) == ["cancel_timer 2", "cancel_timer 3", "complete_workflow"]


def test_schedule_to_start(drive: Drive) -> None:
    d = drive(flow(lambda self: call(schedule_to_start_timeout=S5)))
    assert kinds(d.fire(2)) == ["cancel_activity 1", "fail_workflow: activity"]
    with pytest.raises(ActivityError, match="missed its schedule_to_start timeout"):
        d.result()


@pytest.mark.parametrize("reported", [True, False])
def test_a_start_ends_schedule_to_start(drive: Drive, reported: bool) -> None:
    d = drive(flow(lambda self: call(schedule_to_start_timeout=S5)))
    if reported:
        started = ev.ActivityStarted(run=RUN, n=1, attempt=1)
        assert kinds(d.feed(started)) == ["cancel_timer 2"]
        assert d.feed(started) == []
    else:
        assert kinds(d.backoff(1, attempt=1, delay=40)) == [
            "cancel_timer 2",
            "start_timer 3: retry",
        ]


def test_a_long_backoff_is_a_timer(drive: Drive) -> None:
    d = drive(flow(one))
    assert kinds(d.backoff(1, attempt=1, delay=40)) == ["start_timer 2: retry"]
    assert d.backoff(1, attempt=1, delay=40) == []
    retry = d.fire(2)
    assert retry == [co.RetryActivity(n=1, attempt=2, last_failure=Failure(message="oops"))]
    assert d.backoff(1, attempt=1, delay=40) == []  # the first attempt's again, now too late
    assert kinds(d.backoff(1, attempt=2, delay=80)) == ["start_timer 3: retry"]
    assert kinds(d.fire(3)) == ["retry_activity 1: attempt 3"]
    d.done(1, "third")
    assert d.result() == "third"


@pytest.mark.parametrize("kind", list(Type))
def test_cancel_during_backoff_ends_at_once(drive: Drive, kind: Type) -> None:
    async def run(self: Any) -> Any:
        try:
            await call(cancellation_type=kind)
        except ActivityError as error:
            return caught(error)

    d = drive(flow(run))
    d.backoff(1, attempt=1, delay=3600)
    assert kinds(d.cancel()) == ["cancel_timer 2", "complete_workflow"]
    assert d.result() == ["ActivityError: Activity cancelled", "CancelledError: Cancelled"]


def test_a_failed_attempt_of_a_cancelled_activity_is_its_end(drive: Drive) -> None:
    d = drive(flow(lambda self: call(cancellation_type=Type.WAIT_CANCELLATION_COMPLETED)))
    assert kinds(d.cancel("stop")) == ["cancel_activity 1"]
    assert kinds(d.backoff(1, attempt=1, delay=40)) == ["cancel_workflow"]
    with pytest.raises(CancelledError, match="stop"):
        d.result()


def test_deciding_after_the_close_leaves_nothing(drive: Drive) -> None:
    async def late(self: Any) -> None:
        await workflow.wait_condition(lambda: self.over)
        begin()

    async def run(self: Any) -> None:
        helper = asyncio.create_task(late(self))
        await asyncio.sleep(0)
        self.over = True
        asyncio.get_running_loop().call_soon(lambda: begin())
        asyncio.get_running_loop().call_soon(
            lambda: asyncio.get_running_loop().call_later(5, print)
        )
        del helper

    class Flow:
        over = False

    d = drive(flow(run, cls=Flow))
    assert kinds(d.commands) == ["complete_workflow"]
    assert d.instance.pending_activities() == [] == d.instance.pending_timers()


def test_cancelling_an_activity_that_is_gone_is_nothing(drive: Drive) -> None:
    d = drive(flow(one))
    d.instance.host.cancel_activity(99, forget=False)
    assert d.instance.ledger.take() == []
