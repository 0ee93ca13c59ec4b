"""A cancelled activity ends with exactly one outcome that matters, wherever it is."""

import asyncio
import contextlib

import pytest
from scenarios.activities.world import CONVERTER, RUN, World, play

from perdure import activity
from perdure.core.durations import SECOND
from perdure.core.errors import RetryState
from perdure.core.events import ActivityCanceled, ActivityCompleted, ActivityFailed
from perdure.exceptions import CancelledError


@activity.defn
async def slow() -> str:
    await asyncio.sleep(1000)
    return "done"


def test_a_queued_activity_is_canceled_by_the_worker_that_gets_it() -> None:
    async def story(world: World) -> None:
        task = await world.offer("slow")
        await world.cancel(task)
        await world.worker(slow)
        (event,) = await world.outcome(within=1)
        assert event == ActivityCanceled(run=RUN, n=1, attempt=1, identity="worker-1")
        await asyncio.sleep(0.1)
        assert await world.queue_is_empty(task)

    play(story)


def test_an_activity_that_waits_for_its_retry_is_canceled() -> None:
    async def story(world: World) -> None:
        task = await world.offer("slow", attempt=3, delay=30 * SECOND)
        await world.worker(slow)
        await asyncio.sleep(1)
        await world.cancel(task)
        (event,) = await world.outcome(within=1)
        assert isinstance(event, ActivityCanceled)
        assert event.attempt == 3

    play(story)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_running_activity_is_told(workers: int) -> None:
    async def story(world: World) -> None:
        for _ in range(workers):
            await world.worker(slow)
        task = await world.offer("slow")
        await asyncio.sleep(1)
        await world.cancel(task)
        (event,) = await world.outcome(within=1)
        assert isinstance(event, ActivityCanceled)
        await asyncio.sleep(100)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)
        assert sum(worker.running for worker, _ in world.workers) == 0

    play(story)


def test_without_the_broadcast_a_full_worker_finds_out_at_a_lease_round() -> None:
    async def story(world: World) -> None:
        await world.worker(slow, max_concurrent=1)
        task = await world.offer("slow")
        await asyncio.sleep(1)
        await world.cancel(task, word=False)
        (event,) = await world.outcome(within=10)
        assert isinstance(event, ActivityCanceled)
        await asyncio.sleep(5)
        assert await world.queue_is_empty(task)

    play(story)


def test_the_code_may_clean_up_and_give_details() -> None:
    @activity.defn
    async def tidy() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            reason = activity.cancellation_details()
            assert reason is not None and reason.cancel_requested
            await asyncio.sleep(30)
            raise CancelledError("stopped", "at step 3") from None

    async def story(world: World) -> None:
        await world.worker(tidy)
        await world.worker(tidy)
        task = await world.offer("tidy")
        await asyncio.sleep(1)
        await world.cancel(task)
        await asyncio.sleep(20)
        assert await world.events() == []
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCanceled)
        assert event.details == [CONVERTER.to_payload("at step 3")]
        await asyncio.sleep(30)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


def test_the_code_may_refuse() -> None:
    @activity.defn
    async def refuses() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(5)
        return "done all the same"

    async def story(world: World) -> None:
        await world.worker(refuses)
        task = await world.offer("refuses")
        await asyncio.sleep(1)
        await world.cancel(task)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        await asyncio.sleep(30)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


def test_a_failure_after_the_request_is_final() -> None:
    @activity.defn
    async def breaks() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise ValueError("broken while tidying") from None

    async def story(world: World) -> None:
        await world.worker(breaks)
        task = await world.offer("breaks")
        await asyncio.sleep(1)
        await world.cancel(task)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityFailed)
        assert event.retry_state == RetryState.CANCEL_REQUESTED
        await asyncio.sleep(1)
        assert await world.letters() == []

    play(story)


def test_a_holder_that_dies_leaves_the_cancellation_to_others() -> None:
    async def story(world: World) -> None:
        first = await world.worker(slow)
        task = await world.offer("slow")
        await asyncio.sleep(1)
        await world.crash(first)
        await world.cancel(task)
        await world.worker(slow)
        (event,) = await world.outcome(within=15)
        assert isinstance(event, ActivityCanceled)
        await asyncio.sleep(30)
        assert await world.queue_is_empty(task)

    play(story)


def test_a_cancel_message_after_the_outcome_changes_nothing() -> None:
    @activity.defn
    async def quick() -> str:
        return "done"

    async def story(world: World) -> None:
        await world.worker(quick)
        await world.offer("quick")
        await world.outcome()
        await asyncio.sleep(1)
        task = await world.offer("quick", cancel=True)
        await asyncio.sleep(20)
        assert len(await world.events()) == 1
        assert await world.queue_is_empty(task)

    play(story)


def test_raising_a_cancellation_unasked_is_a_failure() -> None:
    @activity.defn
    async def gives_up() -> None:
        if activity.info().attempt == 1:
            raise asyncio.CancelledError

    async def story(world: World) -> None:
        await world.worker(gives_up)
        await world.offer("gives_up")
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 2

    play(story)


def test_a_task_that_is_gone_stops_its_attempt_without_a_word() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(slow)
        task = await world.offer("slow")
        await asyncio.sleep(1)
        await world.backend.tasks.remove(world.key(task))
        await asyncio.sleep(15)
        assert worker.running == 0
        assert await world.events() == []

    play(story)


def test_code_that_nobody_waits_for_may_clean_up() -> None:
    ended: list[float] = []

    @activity.defn
    async def tidy() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(30)
            ended.append(asyncio.get_running_loop().time())

    async def story(world: World) -> None:
        await world.worker(tidy)
        task = await world.offer("tidy")
        await asyncio.sleep(10)
        await world.backend.tasks.remove(world.key(task))
        await asyncio.sleep(60)
        assert len(ended) == 1
        assert 40 < ended[0] < 45
        assert await world.events() == []

    play(story)
