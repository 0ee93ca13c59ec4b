"""Timers and conditions."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.driver import RUN, START, Driver, flow, kinds

from perdure import workflow
from perdure.core import events as ev
from perdure.core.durations import SECOND
from perdure.core.errors import ActivityError, ApplicationError

type Drive = Callable[..., Driver]
S5 = timedelta(seconds=5)


def call(name: str = "work", *args: Any) -> Any:
    return workflow.execute_activity(name, args=args, start_to_close_timeout=S5)


class Box:
    """An object with something to wait for."""

    def __init__(self) -> None:
        self.go = False
        self.got: list[Any] = []
        self.event = asyncio.Event()


def put(self: Any, *items: Any) -> None:
    self.go = True
    self.got.extend(items)


# timers


@pytest.mark.parametrize(
    "sleep",
    [
        lambda: workflow.sleep(S5),
        lambda: workflow.async_sleep(5),
        lambda: asyncio.sleep(5),
    ],
)
def test_sleeping_is_a_durable_timer(drive: Drive, sleep: Callable[[], Any]) -> None:
    async def run(self: Any) -> Any:
        before = workflow.now()
        await sleep()
        return (workflow.now() - before).total_seconds()

    d = drive(flow(run))
    assert kinds(d.commands) == ["start_timer 1: sleep"]
    assert d.due(1) == START + 5 * SECOND
    assert kinds(d.fire(1)) == ["complete_workflow"]
    assert d.result() == 5


def test_sleeping_for_nothing_needs_no_timer(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "other")
        await workflow.sleep(0)
        order.append("workflow.sleep")
        await asyncio.sleep(0)
        order.append("asyncio.sleep")
        await asyncio.sleep(-1)
        asyncio.get_running_loop().call_later(0, order.append, "call_later")
        await asyncio.sleep(0)
        return order

    d = drive(flow(run))
    assert d.result() == ["workflow.sleep", "other", "asyncio.sleep", "call_later"]
    assert kinds(d.commands) == ["complete_workflow"]


def test_a_timer_that_fired_early_is_armed_again(drive: Drive) -> None:
    d = drive(flow(lambda self: workflow.sleep(S5)))
    due = d.due(1)
    early = ev.TimerFired(run=RUN, n=1, due=due)
    assert kinds(d.feed(early, at=4)) == ["start_timer 1: sleep"]
    assert d.due(1) == due
    assert kinds(d.feed(early, at=5)) == ["complete_workflow"]
    assert d.feed(early, at=6) == []


def test_an_early_firing_of_a_timer_that_is_gone_is_nothing(drive: Drive) -> None:
    d = drive(flow(lambda self: call()))
    assert d.feed(ev.TimerFired(run=RUN, n=7, due=START + SECOND), at=0.5) == []


def test_a_timer_taken_back_in_its_own_step_leaves_no_command(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        task = asyncio.create_task(asyncio.sleep(5))
        other = asyncio.create_task(workflow.sleep(6))
        await asyncio.sleep(0)
        task.cancel()
        other.cancel()
        await asyncio.wait([task, other])
        handle = asyncio.get_running_loop().call_later(7, print)
        handle.cancel()
        handle.cancel()
        await call()

    d = drive(flow(run))
    assert kinds(d.commands) == ["schedule_activity 4: work"]


def test_a_timer_taken_back_later_is_cancelled(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        task = asyncio.create_task(asyncio.sleep(5))
        await call()
        task.cancel()
        await asyncio.sleep(9)

    d = drive(flow(run))
    assert kinds(d.done(1)) == ["start_timer 3: sleep", "cancel_timer 2"]


@pytest.mark.parametrize("late", [True, False])
def test_wait_for(drive: Drive, late: bool) -> None:
    async def run(self: Box) -> Any:
        try:
            return await asyncio.wait_for(self.event.wait(), 5)
        except TimeoutError:
            return "late"

    d = drive(flow(run, cls=Box, signals={"set": lambda self: self.event.set()}))
    assert kinds(d.commands) == ["start_timer 1: sleep"]
    assert kinds(d.fire(1) if late else d.signal("set"))[-1] == "complete_workflow"
    assert d.result() == ("late" if late else True)


def test_asyncio_timeout(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        try:
            async with asyncio.timeout(0.25):
                await asyncio.sleep(5)
        except TimeoutError:
            pass
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + 10):
            await asyncio.sleep(0)
            return (workflow.now().timestamp(), asyncio.get_running_loop().time())

    d = drive(flow(run))
    assert d.due(1) == START + SECOND // 4
    assert kinds(d.fire(1)) == ["cancel_timer 2", "complete_workflow"]
    moment = START / SECOND + 0.25
    assert d.result() == [moment, moment]


def test_a_timeout_round_an_activity_is_the_activitys_cancellation(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        try:
            await asyncio.wait_for(call(), 5)
        except ActivityError as error:
            return str(error)

    d = drive(flow(run))
    assert kinds(d.fire(1)) == ["cancel_activity 2", "complete_workflow"]
    assert d.result() == "Activity cancelled"


def test_call_later_and_call_at(drive: Drive) -> None:
    async def run(self: Box) -> Any:
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 2, self.got.append, "at")
        first = loop.call_later(1, self.got.append, "later")
        assert first.when() == loop.time() + 1
        await workflow.wait_condition(lambda: len(self.got) == 2)
        return self.got

    d = drive(flow(run, cls=Box))
    d.fire(2)
    d.fire(1)
    assert d.result() == ["later", "at"]


def test_a_timer_of_a_handle_cancelled_in_the_firing_step_does_nothing(drive: Drive) -> None:
    async def run(self: Box) -> Any:
        handle = asyncio.get_running_loop().call_later(5, self.got.append, "never")
        await call()
        handle._cancelled = True
        await call()
        return self.got

    d = drive(flow(run, cls=Box))
    d.done(2)
    d.fire(1)
    d.done(3)
    assert d.result() == []


# conditions


def test_a_condition_that_holds_already(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        return await workflow.wait_condition(lambda: True, timeout=S5)

    d = drive(flow(run))
    assert d.result() is True
    assert kinds(d.commands) == ["complete_workflow"]


def test_a_condition_without_a_timeout_records_no_timer(drive: Drive) -> None:
    d = drive(
        flow(lambda self: workflow.wait_condition(lambda: self.go), cls=Box, signals={"put": put})
    )
    assert d.commands == []
    d.signal("put")
    assert d.result() is True


@pytest.mark.parametrize("late", [True, False])
def test_a_condition_with_a_timeout(drive: Drive, late: bool) -> None:
    async def run(self: Box) -> Any:
        return await workflow.wait_condition(lambda: self.go, timeout=S5, timeout_summary="t")

    d = drive(flow(run, cls=Box, signals={"put": put}))
    (timer,) = d.instance.pending_timers()
    assert (timer.summary, timer.duration) == ("t", 5 * SECOND)
    commands = kinds(d.fire(1) if late else d.signal("put"))
    assert commands == (["complete_workflow"] if late else ["cancel_timer 1", "complete_workflow"])
    assert d.result() is not late


def test_a_condition_with_no_time_to_wait(drive: Drive) -> None:
    async def run(self: Box) -> Any:
        return await workflow.wait_condition(lambda: self.go, timeout=0)

    d = drive(flow(run, cls=Box))
    assert d.result() is False


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (lambda: ValueError("broken"), "ValueError: broken"),
        (lambda: SystemExit("out"), "SystemExit: out"),
        (StopIteration, r"RuntimeError: the condition raised StopIteration\(\)"),
    ],
)
def test_a_condition_that_raises_fails_its_waiter(
    drive: Drive, error: Callable[[], BaseException], text: str
) -> None:
    async def run(self: Box) -> Any:
        def condition() -> bool:
            if self.go:
                raise error()
            return False

        await workflow.wait_condition(condition)

    d = drive(flow(run, cls=Box, signals={"put": put}))
    assert kinds(d.signal("put")) == ["fail_workflow: application"]
    with pytest.raises(ApplicationError, match=text):
        d.result()


def test_a_condition_that_raises_at_once(drive: Drive) -> None:
    d = drive(flow(lambda self: workflow.wait_condition(lambda: 1 / 0 > 1)))
    with pytest.raises(ApplicationError, match="ZeroDivisionError"):
        d.result()


def test_conditions_wake_first_come_first_served(drive: Drive) -> None:
    async def wait(self: Box, name: str) -> None:
        await workflow.wait_condition(lambda: self.go)
        self.got.append(name)

    async def run(self: Box) -> Any:
        for name in "abc":
            asyncio.get_running_loop().call_soon(lambda: None)
            setattr(self, name, asyncio.create_task(wait(self, name)))
        await workflow.wait_condition(lambda: len(self.got) == 3)
        return self.got

    d = drive(flow(run, cls=Box, signals={"put": put}))
    d.signal("put")
    assert d.result() == ["a", "b", "c"]


def test_a_cancelled_wait_takes_its_timer_and_condition_back(drive: Drive) -> None:
    async def run(self: Box) -> Any:
        def never() -> bool:
            if self.go:
                raise AssertionError("asked after its waiter was cancelled")
            return False

        task = asyncio.create_task(workflow.wait_condition(never, timeout=S5))
        await call()
        task.cancel()
        await asyncio.wait([task])
        self.go = True
        await call()

    d = drive(flow(run, cls=Box))
    assert kinds(d.done(1)) == ["cancel_timer 2", "schedule_activity 3: work"]
    d.done(3)
    assert d.result() is None


def test_a_condition_may_end_another_wait(drive: Drive) -> None:
    """A condition that fails a future whose waiter is being cancelled meets a done future."""

    async def run(self: Box) -> Any:
        def condition() -> bool:
            if self.go:
                task.cancel()
                raise ValueError("too late")
            return False

        task = asyncio.create_task(workflow.wait_condition(condition))
        await asyncio.wait([task])
        return task.cancelled()

    d = drive(flow(run, cls=Box, signals={"put": put}))
    d.signal("put")
    assert d.result() is True
