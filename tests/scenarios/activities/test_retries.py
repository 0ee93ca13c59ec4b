"""What follows a failed attempt, to the nanosecond of virtual time."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from random import Random

import pytest
from scenarios.activities.world import CONVERTER, ONCE, RUN, World, play

from perdure import activity
from perdure.core.durations import HOUR, MILLISECOND, SECOND
from perdure.core.errors import RetryState, TimeoutType
from perdure.core.events import ActivityAttemptFailed, ActivityCompleted, ActivityFailed
from perdure.core.failures import Failure
from perdure.core.retry import RetryRule
from perdure.engine.activities.deadlines import timeout_failure
from perdure.engine.activities.retrying import next_step
from perdure.exceptions import ApplicationError


def test_backoff_is_exact() -> None:
    begun: list[tuple[float, int]] = []

    @activity.defn
    async def third_time_lucky() -> int:
        begun.append((asyncio.get_running_loop().time(), activity.info().attempt))
        if activity.info().attempt < 4:
            raise ValueError("not yet")
        return 7

    async def story(world: World) -> None:
        await world.worker(third_time_lucky)
        await world.offer("third_time_lucky", retry=RetryRule(initial_interval=SECOND))
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert event.attempt == 4
        times = [when for when, _ in begun]
        assert [attempt for _, attempt in begun] == [1, 2, 3, 4]
        gaps = [round(b - a, 6) for a, b in pairwise(times)]
        assert gaps == [1, 2, 4]

    play(story)


def test_a_long_backoff_is_left_to_the_core() -> None:
    @activity.defn
    async def fails() -> None:
        activity.heartbeat("half way")
        raise ValueError("not today")

    async def story(world: World) -> None:
        await world.worker(fails)
        task = await world.offer("fails", retry=RetryRule(initial_interval=HOUR))
        (event,) = await world.outcome()
        assert isinstance(event, ActivityAttemptFailed)
        assert (event.run, event.n, event.attempt, event.delay) == (RUN, 1, 1, HOUR)
        assert event.failure.type == "ValueError"
        assert event.heartbeat == [CONVERTER.to_payload("half way")]
        await asyncio.sleep(0.1)
        assert await world.queue_is_empty(task)
        assert await world.letters() == []

    play(story)


def test_the_next_attempt_shows_what_failed() -> None:
    @activity.defn
    async def fails() -> None:
        raise ValueError("not yet")

    async def story(world: World) -> None:
        await world.worker(fails)
        task = await world.offer("fails", retry=RetryRule(initial_interval=20 * SECOND))
        await asyncio.sleep(1)
        waiting = await world.current(task)
        assert (waiting.attempt, waiting.delay) == (2, 20 * SECOND)
        assert waiting.last_failure is not None
        assert waiting.last_failure.message == "not yet"

    play(story)


def test_a_waiting_attempt_holds_no_place() -> None:
    @activity.defn
    async def fails() -> None:
        raise ValueError("not yet")

    @activity.defn
    async def works() -> str:
        return "done"

    async def story(world: World) -> None:
        await world.worker(fails, works, max_concurrent=1)
        await world.offer("fails", retry=RetryRule(initial_interval=30 * SECOND))
        await asyncio.sleep(1)
        await world.offer("works", n=2)
        (event,) = await world.outcome(within=1)
        assert isinstance(event, ActivityCompleted)

    play(story)


@pytest.mark.parametrize(
    ("error", "rule", "state"),
    [
        (ApplicationError("no", non_retryable=True), RetryRule(), "NON_RETRYABLE_FAILURE"),
        (
            ApplicationError("no", type="Fatal"),
            RetryRule(non_retryable_error_types=("Fatal",)),
            "NON_RETRYABLE_FAILURE",
        ),
        (
            ValueError("no"),
            RetryRule(non_retryable_error_types=("ValueError",)),
            "NON_RETRYABLE_FAILURE",
        ),
        (ValueError("no"), ONCE, "MAXIMUM_ATTEMPTS_REACHED"),
    ],
)
def test_no_attempt_follows(error: Exception, rule: RetryRule, state: str) -> None:
    @activity.defn
    async def fails() -> None:
        raise error

    async def story(world: World) -> None:
        await world.worker(fails)
        await world.offer("fails", retry=rule)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityFailed)
        assert event.attempt == 1
        assert event.retry_state == RetryState[state]

    play(story)


def test_an_error_may_choose_its_own_delay() -> None:
    begun: list[float] = []

    @activity.defn
    async def fails_once() -> None:
        begun.append(asyncio.get_running_loop().time())
        if activity.info().attempt == 1:
            raise ApplicationError("later", next_retry_delay=timedelta(seconds=7))

    async def story(world: World) -> None:
        await world.worker(fails_once)
        await world.offer("fails_once")
        await world.outcome()
        assert round(begun[1] - begun[0], 6) == 7

    play(story)


def test_no_retry_would_end_in_time() -> None:
    @activity.defn
    async def fails() -> None:
        raise ValueError("the real reason")

    async def story(world: World) -> None:
        await world.worker(fails)
        await world.offer("fails", schedule_to_close=5 * SECOND)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityFailed)
        assert event.attempt == 3
        assert event.retry_state == RetryState.TIMEOUT
        assert event.failure.message == "the real reason"
        assert world.now() < 5

    play(story)


def test_jitter_depends_on_the_attempt_alone() -> None:
    rule = RetryRule(initial_interval=SECOND, jitter=0.5)

    async def story(world: World) -> None:
        task = world.task("fails", retry=rule)
        failure = Failure(message="no", type="ValueError")
        draw = Random(f"{RUN}:1:1").random()
        expected = rule.interval(1, spread=draw)
        assert next_step(task, failure, now=0) == expected
        assert next_step(task, failure, now=99) == expected
        assert expected != SECOND

    play(story)


@pytest.mark.parametrize("kind", [TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE])
def test_deadlines_over_all_attempts_are_not_retried(kind: TimeoutType) -> None:
    async def story(world: World) -> None:
        task = world.task("any")
        failure = timeout_failure(kind, details=[])
        assert next_step(task, failure, now=0) is RetryState.TIMEOUT

    play(story)


def test_an_early_redelivery_waits_again() -> None:
    """Servers may redeliver up to a second early."""
    begun: list[float] = []

    @activity.defn
    async def note() -> None:
        begun.append(asyncio.get_running_loop().time())

    async def story(world: World) -> None:
        await world.offer("note", attempt=2, delay=1500 * MILLISECOND)
        await world.worker(note)
        await world.outcome()
        assert begun[0] == pytest.approx(1.5, abs=1e-6)

    play(story)
