"""A store that loses answers or stays away: one outcome, one count, nothing lost."""

import asyncio
import dataclasses
from typing import Any

import pytest
from scenarios.activities.world import World, play

from perdure import activity
from perdure.core.durations import SECOND
from perdure.core.errors import RetryState
from perdure.core.events import ActivityCanceled, ActivityCompleted, ActivityFailed
from perdure.core.retry import RetryRule
from perdure.core.tasks import encode_task
from perdure.ports.backend import Backend
from perdure.ports.errors import TooLarge, Unavailable, UnknownOutcome


class Faulty:
    """A port whose method ``name`` fails ``times`` times: before it did anything, or after."""

    def __init__(self, port: Any, name: str, error: Exception, *, times: int, after: bool) -> None:
        self._port = port
        self._name = name
        self._error = error
        self._left = times
        self._after = after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name != self._name:
            return method

        async def call(*args: Any, **options: Any) -> Any:
            failing = self._left > 0
            self._left -= 1
            if failing and not self._after:
                raise self._error
            result = await method(*args, **options)
            if failing:
                raise self._error
            return result

        return call


def faulty(backend: Backend, port: str, name: str, error: Exception, **how: Any) -> Backend:
    wrapped = Faulty(getattr(backend, port), name, error, **how)
    changes: dict[str, Any] = {port: wrapped}
    return dataclasses.replace(backend, **changes)


@activity.defn
async def works() -> str:
    return "done"


@activity.defn
async def fails_once() -> int:
    if activity.info().attempt == 1:
        raise ValueError("not yet")
    return activity.info().attempt


FAULTS = [
    (Unavailable("away"), False),
    (UnknownOutcome("lost"), False),
    (UnknownOutcome("lost"), True),
]


@pytest.mark.parametrize(("error", "after"), FAULTS)
def test_an_outcome_is_appended_once(error: Exception, after: bool) -> None:
    async def story(world: World) -> None:
        backend = faulty(world.store.backend(), "log", "append", error, times=5, after=after)
        await world.worker(works, backend=backend)
        task = await world.offer("works")
        await asyncio.sleep(60)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


@pytest.mark.parametrize(("error", "after"), FAULTS)
def test_an_attempt_is_counted_once(error: Exception, after: bool) -> None:
    async def story(world: World) -> None:
        backend = faulty(world.store.backend(), "tasks", "replace", error, times=1, after=after)
        await world.worker(fails_once, backend=backend)
        await world.offer("fails_once")
        await asyncio.sleep(60)
        (event,) = await world.events()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2

    play(story)


@pytest.mark.parametrize(
    ("port", "name"),
    [("state", "read"), ("log", "following"), ("tasks", "current"), ("heartbeats", "beat")],
)
def test_reads_are_repeated_until_the_store_is_back(port: str, name: str) -> None:
    async def story(world: World) -> None:
        backend = faulty(
            world.store.backend(), port, name, Unavailable("away"), times=8, after=False
        )
        await world.worker(works, backend=backend)
        task = await world.offer("works", again=True, delay=SECOND, attempt=2)
        await asyncio.sleep(120)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


def test_an_event_that_is_too_large_is_made_smaller() -> None:
    @activity.defn
    async def verbose() -> None:
        raise ValueError("x" * 5_000)

    async def story(world: World) -> None:
        backend = dataclasses.replace(world.store.backend(), max_message=6_000)
        await world.worker(verbose, backend=backend)
        await world.offer("verbose", retry=RetryRule(maximum_attempts=1), args=[])
        (event,) = await world.outcome()
        assert isinstance(event, ActivityFailed)
        assert event.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED
        assert event.failure.message.startswith("xxx")

    play(story)


def test_a_replacement_that_is_too_large_is_made_smaller() -> None:
    async def story(world: World) -> None:
        backend = faulty(
            world.store.backend(), "tasks", "replace", TooLarge("no"), times=2, after=False
        )
        await world.worker(fails_once, backend=backend)
        await world.offer("fails_once")
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2

    play(story)


def test_a_failure_that_meets_a_cancellation_is_final() -> None:
    """The cancellation took the task's place while the failure was on its way."""
    go_on = asyncio.Event()

    @activity.defn
    async def fails_late() -> None:
        await go_on.wait()
        raise ValueError("broken")

    async def story(world: World) -> None:
        await world.worker(fails_late, max_concurrent=1)
        task = await world.offer("fails_late")
        await asyncio.sleep(1)
        await world.cancel(task, word=False)
        go_on.set()
        (event,) = await world.outcome()
        assert isinstance(event, ActivityFailed)
        assert event.retry_state == RetryState.CANCEL_REQUESTED
        await asyncio.sleep(10)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


def test_two_workers_that_both_report_write_one_identity() -> None:
    """A cancellation decided elsewhere, and the holder's own: the core takes the first."""

    async def story(world: World) -> None:
        deaf = faulty(
            world.store.backend(), "messages", "tell", Unavailable("away"), times=99, after=False
        )

        @activity.defn
        async def slow() -> str:
            await asyncio.sleep(1000)
            return "done"

        await world.worker(slow, backend=deaf)
        task = await world.offer("slow")
        await asyncio.sleep(1)
        await world.worker(slow)
        await world.cancel(task, word=False)
        await asyncio.sleep(60)
        events = await world.events()
        assert {type(event) for event in events} == {ActivityCanceled}
        assert len(events) == 1
        assert await world.queue_is_empty(task)

    play(story)


def test_a_newer_task_is_left_to_newer_workers() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(works)
        task = world.task("works", format=2)
        await world.backend.tasks.offer(world.key(task), encode_task(task))
        await asyncio.sleep(30)
        assert await world.events() == []
        assert not await world.queue_is_empty(task)
        assert worker.running == 0

    play(story)
