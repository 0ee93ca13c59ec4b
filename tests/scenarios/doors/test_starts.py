"""One request is one run: whoever makes it, however often, wherever it was cut off."""

import asyncio
from collections.abc import Awaitable, Callable

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
    request,
)

from perdure.adapters.memory.backend import MemoryStore
from perdure.authoring.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.core.errors import InvalidInputError, UnavailableError, WorkflowAlreadyStartedError
from perdure.core.events import WorkflowStarted, WorkflowTerminateRequested
from perdure.core.state import Status
from perdure.engine.starts import StartOutcome, StartRequest, finish_start, start
from perdure.ports.backend import Backend
from perdure.ports.errors import Unavailable, UnknownOutcome
from perdure.testing.virtual_time import run


async def assert_one_start(backend: Backend, wanted: StartRequest) -> None:
    entry, revision = await entry_of(backend, wanted.workflow_id)
    starts = [
        e for e in await events_of(backend, wanted.workflow_id) if isinstance(e, WorkflowStarted)
    ]
    assert {event.run for event in starts} == {wanted.run} == {entry.run}
    assert {event.revision for event in starts} == {revision}


def test_two_requests_for_one_id_have_one_winner() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        requests = [request(name=name) for name in ("one", "two", "three")]
        outcomes = await asyncio.gather(
            *(start(store.backend(), wanted) for wanted in requests), return_exceptions=True
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, StartOutcome)]
        lost = [o for o in outcomes if isinstance(o, WorkflowAlreadyStartedError)]
        assert (len(won), len(lost)) == (1, 2), outcomes
        assert {error.run_id for error in lost} == {won[0].run}
        winner = next(wanted for wanted in requests if wanted.run == won[0].run)
        await assert_one_start(store.backend(), winner)

    run(scenario())


def test_the_same_request_many_times_at_once_is_one_run() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        wanted = request()
        outcomes = await asyncio.gather(*(start(store.backend(), wanted) for _ in range(10)))
        assert set(outcomes) == {StartOutcome(wanted.run, new=True)}
        await assert_one_start(store.backend(), wanted)

    run(scenario())


async def fresh(store: MemoryStore) -> StartRequest:
    return request()


async def on_a_closed_id(store: MemoryStore) -> StartRequest:
    await start(store.backend(), request(name="before"))
    await close(store.backend())
    return request(requested_at=2_000)


async def on_an_open_id(store: MemoryStore) -> StartRequest:
    await start(store.backend(), request(name="before"))
    return request(
        requested_at=2_000, id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING
    )


async def end_terminated_runs(backend: Backend) -> None:
    """An owner that does nothing but obey termination requests."""
    while True:
        found = await backend.state.read("order-1")
        if found is not None:
            entry, _ = await entry_of(backend)
            events = await events_of(backend)
            asked = {e.run for e in events if isinstance(e, WorkflowTerminateRequested)}
            if entry.is_open and entry.run in asked:
                await close(backend, status=Status.TERMINATED)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("prepare", [fresh, on_a_closed_id, on_an_open_id])
@pytest.mark.parametrize("done", [True, False])
def test_a_request_made_again_after_a_crash_at_any_call_is_one_start(
    prepare: Callable[[MemoryStore], Awaitable[StartRequest]], done: bool
) -> None:
    async def scenario(k: int) -> bool:
        store = MemoryStore()
        owner = asyncio.create_task(end_terminated_runs(store.backend()))
        wanted = await prepare(store)
        wire = failing_at(k, Crash, done=done)
        crashed = False
        try:
            await start(wire.around(store.backend()), wanted)
        except Crash:
            crashed = True
        outcome = await start(store.backend(), wanted)
        assert outcome == StartOutcome(wanted.run, new=True)
        entry, revision = await entry_of(store.backend())
        starts = [
            event
            for event in await events_of(store.backend())
            if isinstance(event, WorkflowStarted) and event.run == wanted.run
        ]
        assert entry.run == wanted.run
        assert {event.revision for event in starts} == {revision}
        assert (await identities_of(store.backend())).count(f"start:{wanted.run}") == 1
        owner.cancel()
        return crashed

    crashes = 0
    while run(scenario(crashes)):
        crashes += 1
    assert crashes >= 2


@pytest.mark.parametrize("prepare", [fresh, on_a_closed_id, on_an_open_id])
@pytest.mark.parametrize("error", [Unavailable, UnknownOutcome])
def test_an_answer_lost_at_any_call_is_found_out(
    prepare: Callable[[MemoryStore], Awaitable[StartRequest]], error: type[Exception]
) -> None:
    async def scenario(k: int) -> int:
        store = MemoryStore()
        owner = asyncio.create_task(end_terminated_runs(store.backend()))
        wanted = await prepare(store)
        wire = failing_at(k, error, done=error is UnknownOutcome)
        outcome = await start(wire.around(store.backend()), wanted)
        assert outcome == StartOutcome(wanted.run, new=True)
        assert (await identities_of(store.backend())).count(f"start:{wanted.run}") == 1
        owner.cancel()
        return len(wire.calls)

    k = 0
    while run(scenario(k)) > k:
        k += 1
    assert k >= 2


def test_the_event_in_the_log_names_the_reservation_it_won() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        wanted = request(args=[msgspec.Raw(b'"a"')], headers={"traceparent": "00-1-2-03"})
        await start(backend, wanted)
        entry, revision = await entry_of(backend)
        (event,) = await events_of(backend)
        assert isinstance(event, WorkflowStarted)
        assert (event.revision, event.first_run) == (revision, wanted.run)
        assert [bytes(arg) for arg in event.args] == [b'"a"']
        assert event.headers == {"traceparent": "00-1-2-03"}
        assert entry.starting is not None and entry.status is Status.RUNNING

    run(scenario())


def test_use_existing_answers_with_the_open_run_and_finishes_its_start() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        first = request()
        wire = failing_at(1, Crash, done=False)
        with pytest.raises(Crash):
            await start(wire.around(store.backend()), first)
        assert await events_of(store.backend()) == []
        outcome = await start(
            store.backend(),
            request(name="two", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING),
        )
        assert outcome == StartOutcome(first.run, new=False)
        await assert_one_start(store.backend(), first)

    run(scenario())


def test_an_abandoned_start_is_finished_by_whoever_meets_it() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        first = request()
        with pytest.raises(Crash):
            await start(failing_at(1, Crash, done=False).around(store.backend()), first)
        await asyncio.sleep(3)
        with pytest.raises(WorkflowAlreadyStartedError):
            await start(store.backend(), request(name="two"))
        await assert_one_start(store.backend(), first)

    run(scenario())


def test_an_old_unfinished_entry_does_not_fill_the_log() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        wanted = request()
        await start(backend, wanted)
        for _ in range(5):
            await asyncio.sleep(600)
            await finish_start(backend, *(await entry_of(backend)))
        assert len(await events_of(backend)) == 1

    run(scenario())


def test_terminate_existing_ends_the_open_run_first() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        owner = asyncio.create_task(end_terminated_runs(store.backend()))
        first = request()
        await start(store.backend(), first)
        second = request(name="two", id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING)
        assert await start(store.backend(), second) == StartOutcome(second.run, new=True)
        kinds = [type(event).__name__ for event in await events_of(store.backend())]
        assert kinds == ["WorkflowStarted", "WorkflowTerminateRequested", "WorkflowStarted"]
        owner.cancel()

    run(scenario())


def test_terminate_existing_gives_up_when_nobody_ends_the_run() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await start(backend, request())
        second = request(name="two", id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
        with pytest.raises(UnavailableError, match="could not start workflow 'order-1'"):
            await start(backend, second, timeout=5)

    run(scenario())


@pytest.mark.parametrize(
    ("policy", "status", "allowed"),
    [
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE, Status.COMPLETED, True),
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE, Status.FAILED, True),
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, Status.COMPLETED, False),
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, Status.FAILED, True),
        (WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, Status.TERMINATED, True),
        (WorkflowIDReusePolicy.REJECT_DUPLICATE, Status.COMPLETED, False),
        (WorkflowIDReusePolicy.REJECT_DUPLICATE, Status.FAILED, False),
    ],
)
def test_a_closed_id_is_used_again_as_the_reuse_policy_says(
    policy: WorkflowIDReusePolicy, status: Status, allowed: bool
) -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        await start(backend, request())
        await close(backend, status=status)
        second = request(name="two", id_reuse_policy=policy)
        if allowed:
            assert await start(backend, second) == StartOutcome(second.run, new=True)
        else:
            with pytest.raises(WorkflowAlreadyStartedError):
                await start(backend, second)

    run(scenario())


@pytest.mark.parametrize("conflict", list(WorkflowIDConflictPolicy))
def test_a_late_duplicate_of_a_closed_run_starts_nothing_and_ends_nobody(
    conflict: WorkflowIDConflictPolicy,
) -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        first, second = request(id_conflict_policy=conflict), request(name="two")
        await start(backend, first)
        await close(backend)
        assert await start(backend, first) == StartOutcome(first.run, new=True)
        await start(backend, second)
        before = await events_of(backend)
        assert await start(backend, first) == StartOutcome(first.run, new=True)
        assert await events_of(backend) == before
        assert (await entry_of(backend))[0].run == second.run

    run(scenario())


def test_policies_that_exclude_each_other_are_refused() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        for reuse in (
            WorkflowIDReusePolicy.REJECT_DUPLICATE,
            WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
        ):
            with pytest.raises(InvalidInputError) as caught:
                await start(
                    backend,
                    request(
                        id_reuse_policy=reuse,
                        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
                    ),
                )
            assert caught.value.field == "id_conflict_policy"
        assert await backend.state.read("order-1") is None

    run(scenario())


def test_large_arguments_lie_beside_the_log_and_too_large_ones_are_refused() -> None:
    async def scenario() -> None:
        backend = MemoryStore().backend()
        large = msgspec.Raw(b'"' + b"x" * 300_000 + b'"')
        wanted = request(args=[large])
        await start(backend, wanted)
        (event,) = await events_of(backend)
        assert isinstance(event, WorkflowStarted)
        assert len(event.args[0]) < 1_000
        memo = {f"m{n}": msgspec.Raw(b'"' + b"x" * 100_000 + b'"') for n in range(6)}
        with pytest.raises(InvalidInputError, match="the limit is 900000"):
            await start(backend, request("order-2", memo=memo))
        assert await backend.state.read("order-2") is None

    run(scenario())


def test_a_full_store_refuses_starts_with_a_typed_error() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        store.full = True
        with pytest.raises(UnavailableError, match="store is full"):
            await start(store.backend(), request())
        store.full = False
        await start(store.backend(), request())

    run(scenario())


def test_an_unreachable_store_is_a_typed_error_within_the_time_given() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        backend = store.backend()
        store.crash(backend)
        loop = asyncio.get_running_loop()
        with pytest.raises(UnavailableError):
            await start(backend, request(), timeout=3)
        assert loop.time() <= 3.1

    run(scenario())


def test_a_first_start_takes_two_calls() -> None:
    async def scenario() -> None:
        wire = Wire()
        await start(wire.around(MemoryStore().backend()), request())
        assert wire.calls == ["state.create", "log.append"]

    run(scenario())
