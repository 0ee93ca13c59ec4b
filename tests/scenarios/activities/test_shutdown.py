"""A worker that ends lets its activities end, and puts back what doesn't, as if it had never run."""

import asyncio
import contextlib

import pytest
from scenarios.activities.world import CONVERTER, World, play

from perdure import activity
from perdure.authoring.app import App
from perdure.core.durations import SECOND
from perdure.core.events import ActivityCompleted
from perdure.engine.activities.worker import ActivityWorker

RUNS: list[int] = []


@activity.defn
async def slow(seconds: float) -> int:
    RUNS.append(activity.info().attempt)
    await asyncio.sleep(seconds)
    return activity.info().attempt


@pytest.fixture(autouse=True)
def fresh_runs() -> None:
    RUNS.clear()


def test_what_ends_within_the_grace_is_reported() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(slow, graceful_shutdown_timeout=30 * SECOND)
        await world.offer("slow", 20)
        await asyncio.sleep(5)
        await worker.shutdown()
        assert world.now() == pytest.approx(20, abs=0.01)
        (event,) = await world.events()
        assert isinstance(event, ActivityCompleted)

    play(story)


@pytest.mark.parametrize("grace", [0, 3])
def test_what_does_not_end_is_put_back_with_its_number(grace: int) -> None:
    async def story(world: World) -> None:
        worker = await world.worker(slow, graceful_shutdown_timeout=grace * SECOND)
        task = await world.offer("slow", 60)
        await asyncio.sleep(20)
        await worker.shutdown()
        assert world.now() == pytest.approx(20 + grace, abs=0.01)
        assert await world.events() == []
        waiting = await world.current(task)
        assert waiting.attempt == 1
        await world.worker(slow)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 1
        assert RUNS == [1, 1]

    play(story)


def test_progress_goes_with_what_is_put_back() -> None:
    seen: list[object] = []

    @activity.defn
    async def counts() -> str:
        seen.append(list(activity.info().heartbeat_details))
        for number in range(10):
            activity.heartbeat(number)
            await asyncio.sleep(1)
        return "counted"

    async def story(world: World) -> None:
        worker = await world.worker(counts)
        await world.offer("counts")
        await asyncio.sleep(4.5)
        await worker.shutdown()
        await world.worker(counts)
        await world.outcome()
        assert seen == [[], [4]]

    play(story)


def test_code_that_ignores_the_shutdown_is_put_back_after_a_moment() -> None:
    @activity.defn
    async def stubborn() -> None:
        RUNS.append(activity.info().attempt)
        while len(RUNS) < 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def story(world: World) -> None:
        worker = await world.worker(stubborn)
        await world.offer("stubborn")
        await asyncio.sleep(4.5)
        await worker.shutdown()
        assert world.now() == pytest.approx(5.5, abs=0.01)
        assert worker.abandoned == 1
        await world.worker(stubborn)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 1

    play(story)


def test_an_activity_sees_the_shutdown_coming() -> None:
    @activity.defn
    async def attentive() -> str:
        await activity.wait_for_worker_shutdown()
        return "packed up"

    async def story(world: World) -> None:
        worker = await world.worker(attentive, graceful_shutdown_timeout=30 * SECOND)
        await world.offer("attentive")
        await asyncio.sleep(5)
        await worker.shutdown()
        assert len(await world.events()) == 1

    play(story)


def test_a_stopped_worker_takes_nothing_new() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(slow)
        await worker.shutdown()
        await worker.shutdown()
        await world.offer("slow", 1)
        await asyncio.sleep(60)
        assert RUNS == []
        assert not worker.is_running

    play(story)


def test_run_works_until_it_is_cancelled() -> None:
    async def story(world: World) -> None:
        task = await world.offer("slow", 1)
        backend = world.store.backend()
        worker = ActivityWorker(
            backend, App(activities=[slow]), task_queue="work", converter=CONVERTER
        )
        running = asyncio.create_task(worker.run())
        await world.outcome()
        running.cancel()
        await asyncio.wait({running})
        assert not worker.is_running
        assert await world.queue_is_empty(task)
        assert await world.backend.members.list(("worker", "work")) == {}

    play(story)
