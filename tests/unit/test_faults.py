"""Faults at the ports: each does what its name says, is counted, and comes again with its seed."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from perdure.adapters.memory import MemoryStore
from perdure.ports.addresses import Address, Lane, TaskKey
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError, StoreFull, Unavailable, UnknownOutcome
from perdure.ports.tasks import TaskDelivery
from perdure.testing.contracts import CHECKS
from perdure.testing.faults import (
    WRITES,
    At,
    CrashAfter,
    CrashBefore,
    Delayed,
    Duplicated,
    Fault,
    FaultPlan,
    Refused,
    ReportedFailed,
    SimulatedCrash,
)
from perdure.testing.virtual_time import run

ADDRESS = Address("default", "order-1")
KEY = TaskKey("default", "order-1", "run", 1)


def play(program: Coroutine[Any, Any, None]) -> None:
    run(program, limit=timedelta(days=1))


async def kept(backend: Backend) -> list[bytes]:
    return [stored.data for stored in await backend.log.following(ADDRESS, Lane.ENGINE, 0)]


@pytest.mark.parametrize(
    ("fault", "error", "left"),
    [
        (CrashBefore(), SimulatedCrash, []),
        (CrashAfter(), SimulatedCrash, [b"x"]),
        (ReportedFailed(), UnknownOutcome, [b"x"]),
        (Refused(), Unavailable, []),
        (Refused(full=True), StoreFull, []),
        (Delayed(), None, [b"x"]),
        (Duplicated(), None, [b"x", b"x"]),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_fault_does_what_its_name_says(
    fault: Fault, error: type[BaseException] | None, left: list[bytes]
) -> None:
    async def program() -> None:
        store = MemoryStore()
        plan = FaultPlan(at=[At("log.append", 1, fault)])
        backend = plan.wrap(store.backend())
        append = backend.log.append(ADDRESS, Lane.ENGINE, b"x")
        if error is None:
            assert await append == 1
        else:
            with pytest.raises(error):
                await append
        assert await kept(store.backend()) == left
        assert plan.met == Counter({(fault.name, "log.append"): 1})
        assert f"{fault.name} met log.append: 1" in plan.report()

    play(program())


def test_a_crash_silences_the_process() -> None:
    async def program() -> None:
        store = MemoryStore()
        plan = FaultPlan(at=[At("log.append", 1, CrashAfter())])
        inner, healthy = store.backend(), store.backend()
        died: list[str] = []
        backend = plan.wrap(inner, on_crash=lambda: died.append("once"))
        held: list[TaskDelivery] = []
        await backend.tasks.open("default", held.append, credit=2)
        await healthy.tasks.offer(KEY, b"work")
        await asyncio.sleep(1)
        with pytest.raises(SimulatedCrash):
            await backend.log.append(ADDRESS, Lane.ENGINE, b"x")
        for call in (backend.log.tip(ADDRESS), backend.state.read("order-1")):
            with pytest.raises(SimulatedCrash):
                await call
        held[0].ack()
        await healthy.tasks.offer(TaskKey("default", "order-2", "run", 1), b"more")
        await asyncio.sleep(1)
        assert await healthy.tasks.current(KEY) is not None, "a dead process acknowledges nothing"
        assert len(held) == 1, "a dead process is offered nothing"
        assert died == ["once"]

    play(program())


def test_deliveries_are_duplicated_and_crashed_upon() -> None:
    async def program() -> None:
        store = MemoryStore()
        plan = FaultPlan(
            at=[At("tasks.delivery", 1, Duplicated()), At("tasks.delivery", 2, CrashBefore())]
        )
        died: list[str] = []
        backend = plan.wrap(store.backend(), on_crash=lambda: died.append("once"))
        seen: list[TaskDelivery] = []
        await backend.tasks.open("default", seen.append, credit=2)
        healthy = store.backend()
        await healthy.tasks.offer(KEY, b"work")
        await asyncio.sleep(1)
        assert [delivery.key for delivery in seen] == [KEY, KEY]
        await healthy.tasks.offer(TaskKey("default", "order-2", "run", 1), b"more")
        await asyncio.sleep(1)
        assert (len(seen), died) == (2, ["once"])

    play(program())


def test_faults_meet_iterators() -> None:
    async def program() -> None:
        store = MemoryStore()
        plan = FaultPlan(at=[At("state.scan", 1, Refused())])
        backend = plan.wrap(store.backend())
        await backend.state.create("order-1", b"x")
        with pytest.raises(Unavailable):
            _ = [entry async for entry in backend.state.scan()]
        assert [entry async for entry in backend.state.scan()] == [(b"x", 1)]

    play(program())


async def _work(plan: FaultPlan) -> list[str]:
    """Calls of many kinds, and what came of each."""
    store = MemoryStore()
    answers: list[str] = []
    for n in range(300):
        backend = plan.wrap(store.backend())
        try:
            await backend.log.append(ADDRESS, Lane.ENGINE, b"%d" % n)
            await backend.log.tip(ADDRESS)
            answers.append("fine")
        except (PortError, SimulatedCrash) as error:
            answers.append(type(error).__name__)
    return answers


RATES: dict[Fault, float] = {
    CrashBefore(): 0.05,
    CrashAfter(): 0.05,
    ReportedFailed(): 0.05,
    Refused(): 0.05,
    Refused(full=True): 0.05,
    Delayed(): 0.05,
    Duplicated(): 0.05,
}


def test_the_same_seed_gives_the_same_faults() -> None:
    plans = [FaultPlan(seed, rates=RATES) for seed in (7, 7, 8)]
    answers = [run(_work(plan)) for plan in plans]
    assert answers[0] == answers[1] != answers[2]
    assert plans[0].met == plans[1].met != plans[2].met
    assert {fault for fault, _ in plans[0].met} == {fault.name for fault in RATES}
    assert plans[0].calls["log.append"] == 300


def test_reads_meet_no_unknown_outcome() -> None:
    plan = FaultPlan(1, rates={ReportedFailed(): 1.0, Duplicated(): 1.0, Refused(full=True): 1.0})
    run(_work(plan))
    assert {call for _, call in plan.met} <= WRITES


def test_only_keeps_faults_to_some_calls_and_calm_ends_them() -> None:
    plan = FaultPlan(1, rates={Refused(): 1.0}, only=["log.tip", "state"])
    assert set(run(_work(plan))) == {"Unavailable"}
    assert set(plan.met) == {("Refused", "log.tip")}
    plan.calm()
    assert set(run(_work(plan))) == {"fine"}


def test_a_fault_that_cannot_happen_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ReportedFailed can't happen to log\.tip"):
        FaultPlan(at=[At("log.tip", 1, ReportedFailed())])


@pytest.mark.parametrize("name", CHECKS)
def test_a_calm_plan_changes_no_promise(name: str) -> None:
    class Wrapped:
        """A memory stage whose backends go through a plan without faults."""

        def __init__(self) -> None:
            self._store = MemoryStore()
            self.request = self._store.request
            self.announced = self._store.announced
            self.on_reply = self._store.on_reply

        async def connect(self) -> Backend:
            return FaultPlan().wrap(self._store.backend())

    async def program() -> None:
        await CHECKS[name](Wrapped())

    play(program())
