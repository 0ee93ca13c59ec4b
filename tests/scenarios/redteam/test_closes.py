"""Closes raced by what comes between any two of their steps."""

import asyncio
from typing import Any

import msgspec
import pytest
from support.gates import Gates
from support.redteam import Collector, address, is_blocked, until
from support.world import World, world

from perdure import workflow
from perdure.adapters.memory import MemoryStore
from perdure.core.commands import CompleteWorkflow
from perdure.core.errors import UnavailableError
from perdure.core.events import WorkflowSignaled, WorkflowStarted, encode_event
from perdure.core.records import JOINED, Record, encode_record
from perdure.core.state import StateEntry, Status, encode_state
from perdure.engine.delivery import WorkflowClosedError, deliver
from perdure.exceptions import WorkflowNotFoundError
from perdure.ports.addresses import Lane
from perdure.ports.backend import Backend
from perdure.testing.virtual_time import run


async def _collecting(w: World, gates: Gates, letters: int) -> str:
    await w.add_scheduler(wrap=gates.wrap)
    collector = await w.start("Collector", letters)
    await asyncio.sleep(1)
    for number in range(letters - 1):
        await w.signal(collector, "post", number)
    await asyncio.sleep(1)
    return collector


def test_what_is_accepted_between_a_void_close_and_the_next_is_in_the_result() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            collector = await _collecting(w, gates, 3)
            first, second = gates.hold("log.commit"), gates.hold("log.commit")
            await w.signal(collector, "post", 2)
            await first.reached.wait()
            await w.signal(collector, "post", 3)
            first.release()
            await second.reached.wait()
            last = asyncio.create_task(w.signal(collector, "post", 4))
            await asyncio.sleep(0.2)
            second.release()
            result = await w.result(collector, timeout=60)
            try:
                await last
            except WorkflowNotFoundError:
                assert result == [0, 1, 2, 3]
            else:
                assert result == [0, 1, 2, 3, 4]

    run(main())


def test_garbage_before_a_close_does_not_void_it_for_ever() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            collector = await _collecting(w, gates, 3)
            close = gates.hold("log.commit")
            await w.signal(collector, "post", 2)
            await close.reached.wait()
            await w.client.log.append(address(collector), Lane.EXTERNAL, b"\xff no event")
            close.release()
            assert await w.result(collector, timeout=60) == [0, 1, 2]
            letters = [letter async for letter in w.client.dead_letters.scan()]
            assert len(letters) == 1
            replayed = await w.history(collector)
            assert replayed.closing is not None

    run(main())


def test_a_newer_event_before_a_close_blocks_the_run() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            collector = await _collecting(w, gates, 3)
            close = gates.hold("log.commit")
            await w.signal(collector, "post", 2)
            await close.reached.wait()
            event = b'{"type":"workflow_refined","eid":"x"}'
            await w.client.log.append(address(collector), Lane.EXTERNAL, event)
            close.release()
            await until(lambda: is_blocked(w, collector), 30)
            with pytest.raises(UnavailableError):
                await w.terminate(collector)
            # Its log cannot be read, so that even its end is for the newer build.
            assert (await w.entry(collector)).is_open  # pyright: ignore[reportOptionalMemberAccess]

    run(main())


def test_outsiders_cannot_forge_what_the_engine_says() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            collector = await _collecting(w, gates, 3)
            run_id = (await w.history(collector)).run
            forged = b'{"type":"timer_fired","run":"%s","n":1,"due":1}' % run_id.encode()
            await w.client.log.append(address(collector), Lane.EXTERNAL, forged)
            await asyncio.sleep(5)
            close = gates.hold("log.commit")
            await w.signal(collector, "post", 2)
            await close.reached.wait()
            await w.client.log.append(address(collector), Lane.EXTERNAL, forged)
            close.release()
            assert await w.result(collector, timeout=60) == [0, 1, 2]
            history = await w.history(collector)
            kinds = [type(e.event).__name__ for t in history.all_turns for e in t.events]
            assert "TimerFired" not in kinds
            letters = [letter async for letter in w.client.dead_letters.scan()]
            assert len(letters) == 1

    run(main())


def test_garbage_that_grows_in_a_letter_does_not_stop_its_run() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            collector = await _collecting(w, gates, 3)
            await w.client.log.append(address(collector), Lane.EXTERNAL, b"\x00" * 800_000)
            await asyncio.sleep(5)
            await w.signal(collector, "post", 2)
            assert (await w.closed(collector, timeout=60)).status is Status.COMPLETED

    run(main())


@workflow.defn
class Instant:
    """Is over in its first record."""

    @workflow.run
    async def run(self) -> str:
        return "over"


def test_a_run_that_ends_in_its_first_record_announces_its_start_too() -> None:
    async def main() -> None:
        async with world([Instant]) as w:
            await w.result(await w.start("Instant"))
            events = [msgspec.json.decode(data)["event"] for data in await w.store.announced()]
            assert events == ["started", "closed"]

    run(main())


def test_a_run_whose_first_record_is_void_announces_its_start() -> None:
    async def main() -> None:
        async with world([Collector], serve=False) as w:
            gates = Gates()
            close = gates.hold("log.commit")
            collector = await w.start("Collector", 1)
            await w.signal(collector, "post", 1)
            await w.add_scheduler(wrap=gates.wrap)
            await close.reached.wait()
            await w.signal(collector, "post", 2)
            close.release()
            assert await w.result(collector, timeout=60) == [1, 2]
            events = [msgspec.json.decode(data)["event"] for data in await w.store.announced()]
            assert events == ["started", "closed"]

    run(main())


def test_a_run_that_is_terminated_before_its_first_record_stands_has_its_start() -> None:
    async def main() -> None:
        async with world([Instant], serve=False) as w:
            gates = Gates()
            close = gates.hold("log.commit")
            await w.add_scheduler(wrap=gates.wrap)
            instant = await w.start("Instant")
            await close.reached.wait()
            await w.terminate(instant)
            close.release()
            assert (await w.closed(instant, timeout=60)).status is Status.TERMINATED
            history = await w.history(instant)
            assert isinstance(history.started.event, WorkflowStarted)

    run(main())


async def _two_closed_runs(backend: Backend, missed: bytes) -> None:
    """A run whose second close need not cover ``missed``, and the id's next run."""
    log, to = backend.log, address("same")
    tip = 0

    async def record(run: str, k: int, applied: list[int], **fields: Any) -> None:
        nonlocal tip
        data = encode_record(Record(run=run, k=k, applied=applied, **fields))
        tip = await log.commit(to, data, after=tip)

    async def start_of(run: str) -> int:
        event = WorkflowStarted(run=run, workflow_type="Collector")
        return await log.append(to, Lane.EXTERNAL, encode_event(event))

    await record("one", 0, [await start_of("one")])
    await record("one", 1, [], commands=[CompleteWorkflow()])
    await log.append(to, Lane.EXTERNAL, missed)
    await record("one", 2, [], commands=[CompleteWorkflow()], flags=JOINED)
    await record("two", 0, [await start_of("two")], commands=[CompleteWorkflow()], after=tip)
    entry = StateEntry(
        workflow_id="same",
        run="two",
        workflow_type="Collector",
        task_queue="default",
        status=Status.COMPLETED,
        closed_seq=tip,
    )
    await backend.state.create("same", encode_state(entry))


def test_a_letter_that_a_close_missed_was_not_taken_by_the_next_run_of_the_id() -> None:
    async def main() -> None:
        backend = MemoryStore().backend()
        missed = WorkflowSignaled(eid="missed", name="post")
        await _two_closed_runs(backend, encode_event(missed))
        with pytest.raises(WorkflowClosedError):
            await deliver(backend, "same", missed, again=True)

    run(main())
