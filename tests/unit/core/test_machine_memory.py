"""A run in memory: its draws, its clock, its log messages, and dropping it."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.driver import RUN, START, Driver, flow, kinds, pack

from perdure import workflow
from perdure.core import events as ev
from perdure.core.durations import SECOND

type Drive = Callable[..., Driver]
S5 = timedelta(seconds=5)


def call(name: str = "work", *args: Any) -> Any:
    return workflow.execute_activity(name, args=args, start_to_close_timeout=S5)


# the run's own randomness, time and log


def test_draws_are_the_runs_own(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        draws = [workflow.random().random(), str(workflow.uuid4())]
        await call()
        return [*draws, workflow.random().randint(1, 10**9), workflow.time_ns(), workflow.time()]

    d = drive(flow(run))
    d.done(1)
    one = d.result()
    assert one[3:] == [d.now, d.now / SECOND]
    other = drive(flow(run), run="another")
    assert other.instance.host.random.random() != one[0]
    assert one[1][14] == "4"


def test_time_never_goes_back(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        await call()
        return workflow.now().timestamp()

    d = drive(flow(run))
    d.signal("x")
    d.done(1, at=-100)
    assert d.result() == (START + 1_000_000) / SECOND


def test_the_logger_is_silent_on_replay(drive: Drive, caplog: pytest.LogCaptureFixture) -> None:
    async def run(self: Any) -> Any:
        workflow.logger.warning("first")
        try:
            await call()
        finally:
            workflow.logger.warning("second, replaying: %s", workflow.unsafe.is_replaying())

    d = drive(flow(run))
    with caplog.at_level(logging.INFO):
        caplog.clear()
        instance = d.replayed()
        assert caplog.messages == []
        instance.apply(
            ev.ActivityCompleted(run=RUN, n=1, attempt=1, activity_type="work"), timestamp=START
        )
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith("second, replaying: False")
        d.replayed().dispose()
        assert len(caplog.messages) == 1


# disposal


def test_dropping_a_run_decides_nothing(recwarn: pytest.WarningsRecorder) -> None:
    ends: list[str] = []

    async def stubborn(self: Any, what: Callable[[], Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await what()
            except RuntimeError as error:
                ends.append(str(error))
                raise

    async def run(self: Any) -> Any:
        attempts: list[Callable[[], Any]] = [
            call,
            lambda: workflow.sleep(5),
            lambda: asyncio.sleep(5),
            lambda: asyncio.sleep(0),
            lambda: asyncio.Event().wait(),
            lambda: asyncio.gather(call(), call()),
            lambda: workflow.wait_condition(lambda: False),
        ]
        self.tasks = [asyncio.create_task(stubborn(self, what)) for what in attempts]
        try:
            await asyncio.gather(call(), asyncio.sleep(7), workflow.wait_condition(lambda: False))
        finally:
            while True:
                try:
                    await asyncio.sleep(0)
                except BaseException:
                    ends.append("again")
                    if ends.count("again") > 20:
                        raise

    d = Driver(flow(run))
    d.start()
    before = kinds(d.commands)
    assert before == ["schedule_activity 1: work", "start_timer 2: sleep"]
    d.instance.dispose()
    d.instance.dispose()
    assert d.instance.ledger.take() == [] and d.instance.close is None
    gone = "this workflow run is being dropped from memory"
    assert {end for end in ends if end != "again"} == {
        f"cannot {what}: {gone}"
        for what in ("start an activity", "sleep", "make a future", "wait for a condition")
    }
    assert "again" in ends
    assert not d.instance.host.unhandled
    del d
    gc.collect()
    assert recwarn.list == []


def test_a_run_that_ended_is_freed_when_it_is_dropped() -> None:
    async def run(self: Any) -> None:
        self.signals = 0
        await asyncio.gather(call(), workflow.sleep(5))
        await workflow.wait_condition(lambda: bool(self.signals))

    async def nudge(self: Any) -> None:
        self.signals += 1

    d = Driver(flow(run, signals={"nudge": nudge}))
    d.start()
    d.done(1)
    d.fire(2)
    d.signal("nudge")
    assert d.result() is None
    gone = [weakref.ref(d.instance), weakref.ref(d.instance.host.instance)]
    gc.collect()
    gc.disable()
    try:
        d.instance.dispose()
        del d
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def test_code_that_never_ends_is_left_alone() -> None:
    rounds: list[int] = []

    async def run(self: Any) -> Any:
        while not self.enough:
            try:
                await asyncio.sleep(0 if rounds else 5)
            except BaseException:
                rounds.append(1)

    class Flow:
        enough = False

    d = Driver(flow(run, cls=Flow))
    d.start()
    d.instance.dispose()
    assert len(rounds) == 100
    Flow.enough = True


def test_an_exception_that_nobody_awaits_is_kept_for_who_asks(drive: Drive) -> None:
    async def broken() -> None:
        raise ValueError("in the background")

    async def run(self: Any) -> Any:
        self.task = asyncio.create_task(broken())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del self.task
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await call()

    d = drive(flow(run))
    gc.collect()
    texts = [repr(context["exception"]) for context in d.instance.host.unhandled]
    assert sorted(texts) == [
        "ValueError('in the background')",
        "ZeroDivisionError('division by zero')",
    ]
    d.done(1, pack(None))
    assert d.result() is None


def test_a_background_task_may_not_end_the_process(drive: Drive) -> None:
    async def exits() -> None:
        raise SystemExit(1)

    async def run(self: Any) -> Any:
        task = asyncio.create_task(exits())
        await asyncio.sleep(0)
        assert isinstance(task.exception(), SystemExit)
        return "still here"

    assert drive(flow(run)).result() == "still here"


def test_a_task_that_only_the_loop_knows_survives_garbage_collection(drive: Drive) -> None:
    async def waits(self: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended = True

    async def run(self: Any) -> Any:
        asyncio.create_task(waits(self))  # noqa: RUF006
        await call()
        return getattr(self, "ended", False)

    d = drive(flow(run))
    gc.collect()
    d.done(1)
    assert d.result() is False
