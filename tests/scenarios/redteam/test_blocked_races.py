"""Blocked runs: what was acknowledged while nobody could go on is never forgotten."""

import asyncio

import pytest
from support.gates import Gates
from support.redteam import (
    Changed,
    Collector,
    Writer,
    address,
    alone,
    in_log,
    is_blocked,
    note,
    until,
)
from support.world import World, world

from perdure.authoring.app import App
from perdure.core.records import decode_record
from perdure.core.state import Status
from perdure.ports.addresses import Lane
from perdure.ports.backend import Backend
from perdure.testing.fault_plan import At, FaultPlan
from perdure.testing.faults import CrashAfter, Refused
from perdure.testing.virtual_time import run

OLD = App(workflows=[Writer], activities=[note])
NEW = App(workflows=[Changed], activities=[note])


async def _stop(w: World, name: str) -> None:
    task = w.schedulers.pop(name)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _add_mortal(w: World, name: str, app: App, build: str, *places: At) -> asyncio.Event:
    """A scheduler that dies where ``places`` say."""
    plan, died = FaultPlan(at=places), asyncio.Event()
    raw: list[Backend] = []

    def on_crash() -> None:
        w.store.crash(raw[0])
        died.set()

    def wrap(backend: Backend) -> Backend:
        raw.append(backend)
        return plan.wrap(backend, on_crash=on_crash)

    await w.add_scheduler(name, app=app, build=build, wrap=wrap)
    return died


async def _bury(w: World, name: str, died: asyncio.Event) -> None:
    await died.wait()
    await asyncio.sleep(0)
    await _stop(w, name)


async def _two_turns(w: World) -> str:
    """A run of the old build in the log, and no scheduler."""
    await w.add_scheduler("old", app=OLD, build="old")
    await w.add_worker()
    writer = await w.start("Clerk", 2)
    await asyncio.sleep(3)
    await _stop(w, "old")
    return writer


def test_events_are_kept_when_the_mark_was_refused() -> None:
    async def main() -> None:
        async with world([Writer], [note], serve=False) as w:
            writer = await _two_turns(w)
            plan = FaultPlan(at=[At("state.update", 1, Refused())])
            await w.add_scheduler("new", app=NEW, build="new", wrap=plan.wrap)
            await w.signal(writer, "post", 1)
            await asyncio.sleep(5)
            await _stop(w, "new")
            await w.add_scheduler("old", app=OLD, build="old")
            await w.signal(writer, "post", 2)
            assert sorted(await w.result(writer, timeout=60)) == [1, 2]

    run(main())


def test_events_are_kept_when_their_taker_dies_right_after_the_mark_went() -> None:
    async def main() -> None:
        async with world([Writer], [note], serve=False) as w:
            writer = await _two_turns(w)
            await w.add_scheduler("new", app=NEW, build="new")
            await w.signal(writer, "post", 1)
            await until(lambda: is_blocked(w, writer), 30)
            await asyncio.sleep(5)
            await _stop(w, "new")
            died = await _add_mortal(w, "old", OLD, "old", At("state.update", 1, CrashAfter()))
            await _bury(w, "old", died)
            await asyncio.sleep(15)
            await w.add_scheduler("old-2", app=OLD, build="old")
            await w.signal(writer, "post", 2)
            assert sorted(await w.result(writer, timeout=60)) == [1, 2]

    run(main())


def test_a_build_that_is_blocked_leaves_events_to_one_that_goes_on() -> None:
    async def main() -> None:
        async with world([Writer], [note], serve=False) as w:
            writer = await _two_turns(w)
            await w.add_scheduler("new", app=NEW, build="new", wrap=alone)
            await w.signal(writer, "post", 1)
            await until(lambda: is_blocked(w, writer), 30)
            await w.add_scheduler("old", app=OLD, build="old", wrap=alone)
            await asyncio.sleep(5)
            assert not await is_blocked(w, writer)
            # Offered to either of the two owners.
            await w.signal(writer, "post", 2)
            result = await w.result(writer, timeout=2 * 3_600)
            assert sorted(result) == [1, 2]

    run(main())


def test_the_late_mark_of_a_start_leaves_a_block_standing() -> None:
    async def main() -> None:
        async with world([Writer], [note], serve=False) as w:
            gates = Gates()
            await w.add_scheduler("old", app=OLD, build="old", wrap=lambda b: gates.wrap(alone(b)))
            writer = await w.start("Clerk", 2)
            await asyncio.sleep(0.2)
            gates.freeze()
            await w.add_scheduler("new", app=NEW, build="new", wrap=alone)
            await asyncio.sleep(0.1)
            await w.signal(writer, "post", 1)
            await until(lambda: is_blocked(w, writer), 30)
            await asyncio.sleep(1)
            gates.lose()
            gates.thaw()
            await asyncio.sleep(5)
            await _stop(w, "new")
            await _stop(w, "old")
            await w.add_worker()
            await w.add_scheduler("old-2", app=OLD, build="old")
            await w.signal(writer, "post", 2)
            assert sorted(await w.result(writer, timeout=60)) == [1, 2]

    run(main())


def test_a_terminator_that_dies_before_the_effects_is_followed() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            died = await _add_mortal(w, "s1", w.app, "one", At("log.commit", 1, CrashAfter()))
            stray = await w.start("Unheard-of")
            await until(lambda: is_blocked(w, stray), 30)
            await w.signal(stray, "post", 1)
            terminated = asyncio.create_task(w.terminate(stray, "enough"))
            await asyncio.sleep(0)
            late = asyncio.create_task(w.signal(stray, "post", 2))
            await _bury(w, "s1", died)
            await w.add_scheduler("s2", build="two")
            entry = await w.closed(stray, timeout=120)
            assert entry.status is Status.TERMINATED
            await asyncio.gather(terminated, late, return_exceptions=True)

    run(main())


@pytest.mark.parametrize("turn", [0, 1])
def test_two_who_terminate_a_blocked_run_leave_one_end(turn: int) -> None:
    async def main() -> None:
        async with world([Writer], [note], serve=False, purge_grace=60 * 10**9) as w:
            writer = await _two_turns(w)
            gates = Gates()
            await w.add_scheduler("a", app=NEW, build="n1", wrap=lambda b: gates.wrap(alone(b)))
            await w.signal(writer, "post", 1)
            await until(lambda: is_blocked(w, writer), 30)
            await w.add_scheduler("b", app=NEW, build="n2", wrap=alone)
            await asyncio.sleep(1)
            # The inbox offers in turn: in one of the two cases the held one terminates first.
            for number in range(turn):
                await w.signal(writer, "post", number)
            effects = gates.hold("archive.put")
            first = asyncio.create_task(w.terminate(writer, "first"))
            await asyncio.sleep(2)
            # The inbox offers in turn: at least one of these comes to the other owner.
            others: list[asyncio.Task[int]] = []
            for _ in range(4):
                others.append(asyncio.create_task(w.terminate(writer, "second")))
                await asyncio.sleep(1)
            effects.release()
            assert (await w.closed(writer, timeout=60)).status is Status.TERMINATED
            records = await w.client.log.following(address(writer), Lane.HISTORY, 0)
            assert sum(decode_record(one.data).close is not None for one in records) == 1
            await asyncio.gather(first, *others, return_exceptions=True)
            await asyncio.sleep(200)
            assert in_log(w.store, writer) == []
            await _stop(w, "a")
            await _stop(w, "b")
            await w.add_worker()
            await w.add_scheduler("old", app=OLD, build="old")
            await w.start("Clerk", 1, id=writer)
            await w.signal(writer, "post", 3)
            assert await w.result(writer, timeout=60) == [3]

    run(main())


def test_a_start_blocked_behind_the_sweep_goes_on_with_the_next_signal() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            await w.add_scheduler("without", app=App(), build="without")
            collector = await w.start("Collector", 2)
            await until(lambda: is_blocked(w, collector), 30)
            await w.signal(collector, "post", 1)
            gates = Gates()
            scan = gates.hold("state.scan")
            await w.add_scheduler("with", build="with", wrap=lambda b: gates.wrap(alone(b)))
            await scan.reached.wait()
            await _stop(w, "without")
            await w.signal(collector, "post", 2)
            assert await w.result(collector, timeout=60) == [1, 2]

    run(main())


def test_a_close_that_took_what_was_acknowledged_while_blocked_is_finished() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            without = App(workflows=[Writer], activities=[note])
            await w.add_scheduler("with", build="with")
            collector = await w.start("Collector", 2)
            await w.signal(collector, "post", 1)
            await asyncio.sleep(5)
            await _stop(w, "with")
            await w.add_scheduler("without", app=without, build="without")
            await w.signal(collector, "post", 2)
            await until(lambda: is_blocked(w, collector), 30)
            await asyncio.sleep(1)
            await _stop(w, "without")
            died = await _add_mortal(w, "dies", w.app, "with", At("archive.put", 1, CrashAfter()))
            await _bury(w, "dies", died)
            await w.add_scheduler("with-2", build="with")
            assert await w.result(collector, timeout=60) == [1, 2]

    run(main())
