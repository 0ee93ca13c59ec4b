"""An event that was accepted is one that a run takes; anything else is said to the sender."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from scenarios.doors.world import (
    Crash,
    Wire,
    close,
    entry_of,
    events_of,
    failing_at,
    identities_of,
    record,
    report,
    request,
    take_up,
)

from perdure.adapters.memory.backend import MemoryStore
from perdure.core.errors import InvalidInputError, UnavailableError, WorkflowNotFoundError
from perdure.core.events import WorkflowCancelRequested, WorkflowSignaled, WorkflowStarted
from perdure.core.state import Status
from perdure.engine.delivery import WorkflowClosedError, deliver, send
from perdure.engine.starts import start
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.errors import Unavailable, UnknownOutcome
from perdure.testing.virtual_time import run


def signal(eid: str = "s1", **changes: Any) -> WorkflowSignaled:
    return WorkflowSignaled(eid=eid, name="approve", **changes)


def just(*, before: str = "", after: str = "", do: Callable[[], Awaitable[object]]) -> Wire:
    """A wire that does something once, beside the first call of a name."""
    wire = Wire()
    done = False

    async def once(name: str, number: int) -> None:
        nonlocal done
        if name == (before or after) and not done:
            done = True
            await do()

    if before:
        wire.before = once
    else:
        wire.after = once
    return wire


async def opened(backend: Backend, workflow_id: str = "order-1") -> None:
    await start(backend, request(workflow_id))
    await take_up(backend, workflow_id)


async def later(backend: Backend, status: Status, closed_seq: int) -> None:
    await asyncio.sleep(1)
    await report(backend, "order-1", status, closed_seq)


def test_an_unknown_id_is_not_found_and_nothing_is_stored() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        with pytest.raises(WorkflowNotFoundError) as caught:
            await send(backend, "order-1", signal())
        assert not isinstance(caught.value, WorkflowClosedError)
        assert await events_of(backend) == []

    run(scenario())


def test_a_closed_id_is_not_found_and_nothing_is_stored() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await opened(backend)
        await close(backend)
        with pytest.raises(WorkflowClosedError):
            await send(backend, "order-1", signal())
        assert len(await events_of(backend)) == 1

    run(scenario())


def test_a_signal_for_an_open_run_lies_behind_its_start() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await opened(backend)
        seq = await send(backend, "order-1", signal())
        stored = await backend.log.following(Address("default", "order-1"), Lane.EXTERNAL, 0)
        assert [type(event) for event in await events_of(backend)] == [
            WorkflowStarted,
            WorkflowSignaled,
        ]
        assert stored[-1].seq == seq

    run(scenario())


def test_a_signal_finishes_a_start_that_its_client_did_not() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        with pytest.raises(Crash):
            await start(failing_at(1, Crash, done=False).around(store.backend()), request())
        await send(store.backend(), "order-1", signal())
        assert await identities_of(store.backend()) == [f"start:{request().run}", "ext:s1"]

    run(scenario())


def test_another_run_than_the_one_asked_for_is_not_found() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await opened(backend)
        await send(backend, "order-1", signal("s1"), run=request().run)
        with pytest.raises(WorkflowNotFoundError):
            await send(backend, "order-1", signal("s2"), run="another")
        signals = [e for e in await events_of(backend) if isinstance(e, WorkflowSignaled)]
        assert [(event.eid, event.run) for event in signals] == [("s1", request().run)]

    run(scenario())


def test_a_final_close_below_the_signal_means_not_found() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        pending: list[asyncio.Task[None]] = []

        async def close_now_and_report_later() -> None:
            seq = await record(owner, close=Status.COMPLETED)
            pending.append(asyncio.create_task(later(owner, Status.COMPLETED, seq)))

        wire = just(before="log.append", do=close_now_and_report_later)
        with pytest.raises(WorkflowClosedError):
            await send(wire.around(store.backend()), "order-1", signal())
        await asyncio.gather(*pending)

    run(scenario())


def test_a_void_close_below_the_signal_means_accepted() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        pending: list[asyncio.Task[None]] = []

        async def go_on() -> None:
            await asyncio.sleep(1)
            await record(owner)

        async def close_in_vain() -> None:
            await record(owner, close=Status.COMPLETED)
            pending.append(asyncio.create_task(go_on()))

        wire = just(before="log.append", do=close_in_vain)
        delivered = await deliver(wire.around(store.backend()), "order-1", signal())
        assert delivered.run == request().run
        assert wire.calls.count("log.append") == 1
        await asyncio.gather(*pending)

    run(scenario())


def test_a_second_close_above_the_signal_means_accepted() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        pending: list[asyncio.Task[int]] = []

        async def close_again() -> int:
            await asyncio.sleep(1)
            seq = await record(owner, close=Status.COMPLETED)
            await report(owner, "order-1", Status.COMPLETED, seq)
            return seq

        async def close_in_vain() -> None:
            await record(owner, close=Status.COMPLETED)
            pending.append(asyncio.create_task(close_again()))

        wire = just(before="log.append", do=close_in_vain)
        seq = await send(wire.around(store.backend()), "order-1", signal())
        assert seq < (await asyncio.gather(*pending))[0]

    run(scenario())


@pytest.mark.parametrize("purged", [True, False])
def test_a_close_above_the_signal_means_accepted(purged: bool) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)

        async def close_behind_it() -> None:
            seq = await close(owner)
            if purged:
                await owner.log.purge(Address("default", "order-1"), seq)

        wire = just(after="log.append", do=close_behind_it)
        await send(wire.around(store.backend()), "order-1", signal())

    run(scenario())


def test_a_signal_that_missed_its_run_goes_to_the_next() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        second = request(name="two")

        async def close_and_start_again() -> None:
            await close(owner)
            await start(owner, second)

        # The first append falls behind the close and behind the new start: the second, of the same
        # identity, is the same event for the new run.
        wire = just(before="log.append", do=close_and_start_again)
        delivered = await deliver(wire.around(store.backend()), "order-1", signal())
        assert delivered.run == second.run
        assert (await identities_of(owner)).count("ext:s1") == 1

    run(scenario())


def test_a_signal_between_two_runs_is_appended_for_the_second() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        second = request(name="two")
        wire = Wire()

        async def interleave(name: str, number: int) -> None:
            if name == "log.append" and wire.calls.count(name) == 1:
                await close(owner)

        async def start_again(name: str, number: int) -> None:
            if name == "log.append" and wire.calls.count(name) == 1:
                await start(owner, second)

        wire.before, wire.after = interleave, start_again
        delivered = await deliver(wire.around(store.backend()), "order-1", signal())
        assert delivered.run == second.run
        kinds = [type(event).__name__ for event in await events_of(owner)]
        assert kinds == [
            "WorkflowStarted",
            "WorkflowSignaled",
            "WorkflowStarted",
            "WorkflowSignaled",
        ]

    run(scenario())


def test_a_signal_that_the_first_run_took_is_not_sent_to_the_second() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)

        async def close_and_start_again() -> None:
            await close(owner)
            await start(owner, request(name="two"))
            await record(owner)

        wire = just(after="log.append", do=close_and_start_again)
        delivered = await deliver(wire.around(store.backend()), "order-1", signal())
        assert delivered.run == request().run
        assert wire.calls.count("log.append") == 1

    run(scenario())


def test_a_close_that_nobody_finishes_is_a_typed_error() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        wire = just(before="log.append", do=lambda: record(owner, close=Status.COMPLETED))
        with pytest.raises(UnavailableError, match="could not deliver to workflow 'order-1'"):
            await send(wire.around(store.backend()), "order-1", signal(), timeout=5)

    run(scenario())


@pytest.mark.parametrize("error", [Unavailable, UnknownOutcome])
def test_an_answer_lost_at_any_call_is_found_out(error: type[Exception]) -> None:
    async def scenario(k: int) -> int:
        store = MemoryStore()
        await opened(store.backend())
        wire = failing_at(k, error, done=error is UnknownOutcome)
        await send(wire.around(store.backend()), "order-1", signal())
        assert len(await events_of(store.backend())) == 2
        return len(wire.calls)

    k = 0
    while run(scenario(k)) > k:
        k += 1
    assert k >= 3


def test_an_append_of_unknown_outcome_that_closed_the_run_counts_as_delivered() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = store.backend()
        await opened(owner)
        wire = Wire()

        async def lose(name: str, number: int) -> None:
            if name == "log.append" and wire.calls.count(name) == 1:
                await close(owner)
                raise UnknownOutcome("the answer is lost")

        wire.after = lose
        delivered = await deliver(wire.around(store.backend()), "order-1", signal())
        assert delivered.run == request().run
        with pytest.raises(WorkflowClosedError):
            await deliver(store.backend(), "order-1", signal("s2"), again=True)

    run(scenario())


def test_large_arguments_lie_beside_the_log_and_too_large_events_are_refused() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await opened(backend)
        large = msgspec.Raw(b'"' + b"x" * 300_000 + b'"')
        await send(backend, "order-1", signal(args=[large]))
        event = (await events_of(backend))[-1]
        assert isinstance(event, WorkflowSignaled)
        assert len(event.args[0]) < 1_000
        small = dataclasses.replace(backend, max_message=1_000)
        with pytest.raises(InvalidInputError, match="the limit is 1000"):
            reason = "x" * 2_000
            await send(small, "order-1", WorkflowCancelRequested(eid="c1", reason=reason))

    run(scenario())


def test_the_entry_of_a_delivered_to_run_stays_as_it_is() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await opened(backend)
        before = await entry_of(backend)
        await send(backend, "order-1", signal())
        assert (await entry_of(backend))[1] == before[1]

    run(scenario())
