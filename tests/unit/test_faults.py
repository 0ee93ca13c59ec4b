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
from perdure.testing.fault_kinds import CALLBACKS, WORDS, WRITES
from perdure.testing.fault_plan import At, Fate, FaultPlan
from perdure.testing.faults import (
    ClockStepped,
    CrashAfter,
    CrashBefore,
    Delayed,
    Duplicated,
    Fault,
    Lost,
    PausedAfter,
    PausedBefore,
    Refused,
    Reordered,
    ReportedFailed,
    SimulatedCrash,
    every_fault,
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


async def _offered(plan: FaultPlan, tasks: int, fate: Fate | None = None) -> list[TaskDelivery]:
    """What a process is handed when so many tasks are queued at once."""
    store = MemoryStore()
    seen: list[TaskDelivery] = []
    await plan.wrap(store.backend(), fate=fate).tasks.open("default", seen.append, credit=9)
    healthy = store.backend()
    for n in range(1, tasks + 1):
        await healthy.tasks.offer(TaskKey("default", "order-1", "run", n), b"work")
    await asyncio.sleep(4)
    return seen


@pytest.mark.parametrize(
    ("fault", "numbers"),
    [
        (Lost(), [2, 3]),
        (Reordered(), [2, 1, 3]),
        (Duplicated(), [1, 1, 2, 3]),
        (Delayed(late=timedelta(seconds=2)), [2, 3, 1]),
        (CrashAfter(), [1]),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_deliveries_are_lost_late_doubled_and_overtaken(fault: Fault, numbers: list[int]) -> None:
    async def program() -> None:
        seen = await _offered(FaultPlan(at=[At("tasks.delivery", 1, fault)]), 3)
        assert [delivery.key.n for delivery in seen] == numbers

    play(program())


def test_a_lost_acknowledgement_brings_the_task_again() -> None:
    async def program() -> None:
        seen = await _offered(FaultPlan(at=[At("tasks.ack", 1, Lost())]), 1)
        seen[0].ack()
        await asyncio.sleep(10)
        assert [delivery.attempt for delivery in seen] == [1, 2]
        seen[1].ack()
        await asyncio.sleep(20)
        assert len(seen) == 2

    play(program())


@pytest.mark.parametrize("fault", [PausedBefore(), PausedAfter(), ClockStepped()])
def test_a_process_is_told_to_stand_still_and_clocks_to_step(fault: Fault) -> None:
    async def program() -> None:
        told: list[str] = []
        fate = Fate(on_pause=lambda: told.append("pause"), on_step=lambda: told.append("step"))
        places = [At("tasks.delivery", 1, fault), At("tasks.open", 1, fault)]
        seen = await _offered(FaultPlan(at=places), 1, fate)
        assert told == ["step" if isinstance(fault, ClockStepped) else "pause"] * 2
        assert len(seen) == 1

    play(program())


def test_an_onlooker_hears_of_every_call_and_its_fault() -> None:
    async def program() -> None:
        seen: list[tuple[str, str, object]] = []

        def watch(name: str, about: tuple[Any, ...], fault: str, outcome: object) -> None:
            assert name != "log.append" or about[:2] == (ADDRESS, Lane.ENGINE)
            seen.append((name, fault, type(outcome)))

        plan = FaultPlan(at=[At("log.append", 2, Refused())])
        backend = plan.wrap(MemoryStore().backend(), fate=Fate(watch=watch))
        await backend.log.append(ADDRESS, Lane.ENGINE, b"x")
        with pytest.raises(Unavailable):
            await backend.log.append(ADDRESS, Lane.ENGINE, b"x")
        assert seen == [("log.append", "", int), ("log.append", "Refused", Unavailable)]

    play(program())


def test_weights_make_a_fault_more_or_less_likely() -> None:
    plan = FaultPlan(1, rates={Refused(): 0.5}, weights={"log.append": 0.0, "log.tip": 2.0})
    assert set(run(_work(plan))) == {"Unavailable"}
    assert set(plan.met) == {("Refused", "log.tip")}


def test_every_fault_says_why_it_cannot_meet_a_call() -> None:
    for fault in every_fault():
        whole = all(fault.meets(call) for call in sorted(WRITES | CALLBACKS | WORDS))
        assert whole or fault.why_not


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
