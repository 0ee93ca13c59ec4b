"""The four deadlines of an activity, enforced whatever its code does."""

import asyncio
import contextlib

import pytest
from scenarios.activities.world import CONVERTER, ONCE, RUN, World, play

from perdure import activity
from perdure.core.durations import SECOND
from perdure.core.errors import RetryState, TimeoutType
from perdure.core.events import ActivityCompleted, ActivityFailed, ActivityStarted


@activity.defn
async def sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@activity.defn
async def ignores_everything(seconds: float) -> str:
    end = asyncio.get_running_loop().time() + seconds
    while (left := end - asyncio.get_running_loop().time()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(left)
    return "too late"


async def failure_of(world: World) -> tuple[float, ActivityFailed]:
    await world.outcome()
    when, event = (await world.timed_events())[-1]
    assert isinstance(event, ActivityFailed), event
    assert event.failure.kind == "timeout"
    return when, event


def test_start_to_close() -> None:
    async def story(world: World) -> None:
        await world.worker(sleeps)
        await world.offer("sleeps", 60, start_to_close=3 * SECOND, retry=ONCE)
        when, event = await failure_of(world)
        assert event.failure.timeout == TimeoutType.START_TO_CLOSE
        assert event.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED
        assert when == pytest.approx(3, abs=1e-3)

    play(story)


def test_start_to_close_is_retried() -> None:
    async def story(world: World) -> None:
        @activity.defn
        async def slow_at_first() -> int:
            attempt = activity.info().attempt
            await asyncio.sleep(60 if attempt < 3 else 1)
            return attempt

        await world.worker(slow_at_first)
        await world.offer("slow_at_first", start_to_close=3 * SECOND)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 3
        assert (await world.timed_events())[0][0] == pytest.approx(3 + 1 + 3 + 2 + 1, abs=1e-3)

    play(story)


def test_code_that_ignores_its_cancellation_is_abandoned_and_counted() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(ignores_everything)
        await world.offer("ignores_everything", 300, start_to_close=3 * SECOND, retry=ONCE)
        when, event = await failure_of(world)
        assert event.failure.timeout == TimeoutType.START_TO_CLOSE
        assert when == pytest.approx(4, abs=1e-3)
        assert worker.abandoned == 1
        await asyncio.sleep(600)
        assert len(await world.events()) == 1

    play(story)


def test_schedule_to_close_while_running() -> None:
    async def story(world: World) -> None:
        await world.worker(sleeps)
        await world.offer("sleeps", 60, schedule_to_close=5 * SECOND)
        when, event = await failure_of(world)
        assert event.failure.timeout == TimeoutType.SCHEDULE_TO_CLOSE
        assert event.retry_state == RetryState.TIMEOUT
        assert when == pytest.approx(5, abs=1e-3)

    play(story)


def test_schedule_to_close_while_queued() -> None:
    async def story(world: World) -> None:
        await world.offer("sleeps", 1, schedule_to_close=5 * SECOND)
        await asyncio.sleep(6)
        await world.worker(sleeps)
        _, event = await failure_of(world)
        assert event.failure.timeout == TimeoutType.SCHEDULE_TO_CLOSE

    play(story)


def test_schedule_to_start() -> None:
    async def story(world: World) -> None:
        await world.offer("sleeps", 1, schedule_to_start=5 * SECOND)
        await asyncio.sleep(6)
        await world.worker(sleeps)
        _, event = await failure_of(world)
        assert event.failure.timeout == TimeoutType.SCHEDULE_TO_START
        assert event.retry_state == RetryState.TIMEOUT

    play(story)


def test_beginning_is_recorded_where_schedule_to_start_runs() -> None:
    async def story(world: World) -> None:
        await world.worker(sleeps)
        await world.offer("sleeps", 1, schedule_to_start=5 * SECOND)
        started, completed = await world.outcome(count=2)
        assert started == ActivityStarted(run=RUN, n=1, attempt=1)
        assert isinstance(completed, ActivityCompleted)

    play(story)


def test_heartbeat_timeout_carries_the_last_details() -> None:
    async def story(world: World) -> None:
        @activity.defn
        async def falls_silent() -> None:
            for step in range(4):
                activity.heartbeat({"step": step})
                await asyncio.sleep(1)
            await asyncio.sleep(1000)

        await world.worker(falls_silent)
        await world.offer("falls_silent", heartbeat=2 * SECOND, retry=ONCE)
        when, event = await failure_of(world)
        assert event.failure.timeout == TimeoutType.HEARTBEAT
        assert event.failure.details == [CONVERTER.to_payload({"step": 3})]
        assert when == pytest.approx(5, abs=1e-3)

    play(story)


def test_an_activity_that_beats_is_left_alone() -> None:
    async def story(world: World) -> None:
        @activity.defn
        async def diligent() -> str:
            for _ in range(50):
                activity.heartbeat()
                await asyncio.sleep(0.1)
            return "done"

        await world.worker(diligent)
        await world.offer("diligent", heartbeat=SECOND // 2)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)

    play(story)


def test_the_next_attempt_resumes_from_the_details() -> None:
    seen: list[object] = []

    @activity.defn
    async def resumes() -> int:
        details = activity.info().heartbeat_details
        seen.append(list(details))
        number = details[0] if details else 0
        for _ in range(3):
            number += 1
            activity.heartbeat(number)
        if number < 9:
            raise ValueError("again")
        return number

    async def story(world: World) -> None:
        await world.worker(resumes)
        await world.offer("resumes")
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert seen == [[], [3], [6]]

    play(story)
