"""Timers, retries and races over hours and days, in virtual time.

While somebody serves, an hour takes a second; while nobody does, a month takes none.
"""

import asyncio
import builtins
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from support.world import SECOND, World, world

from perdure import activity, workflow
from perdure.client import Client, WorkflowNotFoundError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType
from perdure.testing.virtual_time import run

LIMIT = timedelta(seconds=30)
DAY = 24 * 3600


def virtually(
    code: Any, activities: Any, scenario: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        async with world([code], activities) as here:
            await scenario(here, Client.from_backend(here.client))

    run(main())


class Attempts:
    """An activity that fails until its ``good``th attempt, and when it was tried."""

    def __init__(self, good: int = 0, error: Callable[[int], Exception] | None = None) -> None:
        self.good = good
        self.error = error or (lambda attempt: RuntimeError(f"attempt {attempt}"))
        self.times: list[float] = []

    @activity.defn(name="try_it")
    async def try_it(self) -> int:
        self.times.append(asyncio.get_running_loop().time())
        attempt = activity.info().attempt
        assert attempt == len(self.times)
        if attempt != self.good:
            raise self.error(attempt)
        return attempt

    @property
    def gaps(self) -> list[float]:
        return [round(later - earlier, 3) for earlier, later in pairwise(self.times)]


@workflow.defn
class Trying:
    @workflow.run
    async def run(self, policy: dict[str, Any] | None = None, limit: float = 0) -> int:
        retry = None
        if policy is not None:
            options: dict[str, Any] = dict(policy)
            options |= {k: timedelta(seconds=v) for k, v in policy.items() if "interval" in k}
            retry = RetryPolicy(**options)
        return await workflow.execute_activity(
            "try_it",
            result_type=int,
            start_to_close_timeout=LIMIT,
            schedule_to_close_timeout=timedelta(seconds=limit) if limit else None,
            retry_policy=retry,
        )


@workflow.defn
class Sleeping:
    @workflow.run
    async def run(self, days: float) -> list[str]:
        began = workflow.now()
        await workflow.sleep(timedelta(days=days))
        await workflow.async_sleep(60)
        await asyncio.sleep(60)
        await workflow.sleep(0)
        await workflow.sleep(-1)
        await asyncio.sleep(-1)
        return [began.isoformat(), workflow.now().isoformat()]


@workflow.defn
class Alarm:
    @workflow.run
    async def run(self) -> float:
        wanted = workflow.time() + 1
        await asyncio.gather(*(workflow.sleep(1 + n / 1_000) for n in range(1_000)))
        return workflow.time() - wanted


@workflow.defn
class Deciding:
    def __init__(self) -> None:
        self.answer: str | None = None

    @workflow.run
    async def run(self, patience: float) -> str:
        if await workflow.wait_condition(lambda: self.answer is not None, timeout=patience):
            return f"answered {self.answer}"
        return "nobody answered"

    @workflow.signal
    def decide(self, answer: str) -> None:
        self.answer = answer

    @workflow.query
    def outcome(self) -> str | None:
        return self.answer


@workflow.defn
class Together:
    """The first of several, then all, with asyncio's own tools."""

    @workflow.run
    async def run(self) -> list[Any]:
        async def after(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        tasks = [asyncio.create_task(after(n)) for n in (3, 1, 2)]
        done, pending = await workflow.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = [task.result() for task in done]
        rest = [await one for one in workflow.as_completed([*pending, after(0.5)])]
        try:
            await asyncio.wait_for(after(9), timeout=1)
        except builtins.TimeoutError:
            rest.append(-1)
        async with asyncio.timeout(5):
            await asyncio.sleep(1)
        lock, order = asyncio.Semaphore(2), list[int]()

        async def guarded(number: int) -> None:
            async with lock:
                await asyncio.sleep(1)
                order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(guarded(number))
        return [first, rest, order]


def test_a_sleep_of_a_month_is_shown_and_kept() -> None:
    async def scenario(here: World, client: Client) -> None:
        handle = await client.start_workflow(Sleeping.run, 30, id="m", task_queue="default")
        while not (before := await handle.describe()).pending_timers:
            await asyncio.sleep(0.1)
        timer = before.pending_timers[0]
        assert timer.duration == 30 * DAY * SECOND
        assert timer.due == int(before.start_time.timestamp()) * SECOND + timer.duration
        await here.stop()
        await asyncio.sleep(30 * DAY - 60)
        await here.add_scheduler("s2")
        after = None
        while after is None or not after.pending_timers:
            after = await handle.describe()
            await asyncio.sleep(0.1)
        assert after.pending_timers[0].due == timer.due
        began, ended = (datetime.fromisoformat(one) for one in await handle.result())
        assert timedelta(0) <= ended - began - timedelta(days=30, minutes=2) < timedelta(seconds=1)
        events = (await handle.fetch_history()).events
        started = [e["duration"] for e in events if e["type"] == "start_timer"]
        assert started == [30 * DAY * SECOND, 60 * SECOND, 60 * SECOND]
        assert len([e for e in events if e["type"] == "timer_fired"]) == 3

    virtually(Sleeping, [], scenario)


def test_a_thousand_timers_of_one_second_all_fire_and_none_early() -> None:
    async def scenario(here: World, client: Client) -> None:
        late = await client.execute_workflow(Alarm.run, id="a", task_queue="default")
        assert 0.999 <= late < 3

    virtually(Alarm, [], scenario)


@pytest.mark.parametrize(
    ("policy", "gaps"),
    [
        (None, [1, 2, 4, 8, 16, 32, 64, 100, 100]),
        ({}, [1, 2, 4, 8, 16, 32, 64, 100, 100]),
        (
            {"initial_interval": 0.2, "backoff_coefficient": 10, "maximum_interval": 0.5},
            [0.2] + [0.5] * 8,
        ),
        ({"initial_interval": 600, "backoff_coefficient": 1}, [600] * 9),
    ],
)
def test_attempts_keep_their_distance(policy: Any, gaps: list[float]) -> None:
    attempts = Attempts(good=10)

    async def scenario(here: World, client: Client) -> None:
        result = await client.execute_workflow(Trying.run, policy, id="t", task_queue="default")
        assert result == 10
        assert len(attempts.gaps) == len(gaps)
        for gap, least in zip(attempts.gaps, gaps, strict=True):
            assert least <= gap < least + 0.5

    virtually(Trying, [attempts.try_it], scenario)


@pytest.mark.parametrize(
    ("policy", "error", "calls"),
    [
        ({"maximum_attempts": 3, "initial_interval": 0.1}, None, 3),
        ({"maximum_attempts": 1}, None, 1),
        ({"non_retryable_error_types": ["KeyError"]}, lambda n: KeyError(n), 1),
        ({}, lambda n: ApplicationError("no", non_retryable=True), 1),
        ({"non_retryable_error_types": ["Bad"]}, lambda n: ApplicationError("no", type="Bad"), 1),
    ],
)
def test_attempts_end(policy: Any, error: Any, calls: int) -> None:
    attempts = Attempts(error=error)

    async def scenario(here: World, client: Client) -> None:
        with pytest.raises(Exception) as caught:
            await client.execute_workflow(Trying.run, policy, id="t", task_queue="default")
        assert len(attempts.times) == calls
        failed = caught.value.__cause__
        assert isinstance(failed, ActivityError)
        assert failed.activity_type == "try_it"
        assert failed.attempt == calls
        assert failed.retry_state is not None
        assert isinstance(failed.cause, ApplicationError)

    virtually(Trying, [attempts.try_it], scenario)


def test_an_error_may_say_when_to_try_again() -> None:
    attempts = Attempts(2, lambda n: ApplicationError("later", next_retry_delay=timedelta(hours=1)))

    async def scenario(here: World, client: Client) -> None:
        await client.execute_workflow(Trying.run, id="t", task_queue="default")
        assert attempts.gaps[0] >= 3600

    virtually(Trying, [attempts.try_it], scenario)


def test_the_time_for_all_attempts_ends_them() -> None:
    attempts = Attempts()

    async def scenario(here: World, client: Client) -> None:
        with pytest.raises(Exception) as caught:
            await client.execute_workflow(Trying.run, args=[None, 20], id="t", task_queue="default")
        failed = caught.value.__cause__
        assert failed is not None
        assert isinstance(failed.__cause__, TimeoutError | ApplicationError)
        if isinstance(failed.__cause__, TimeoutError):
            assert failed.__cause__.type is TimeoutType.SCHEDULE_TO_CLOSE
        assert len(attempts.times) == 5

    virtually(Trying, [attempts.try_it], scenario)


def test_an_answer_at_the_deadline_is_taken_or_not_and_replay_agrees() -> None:
    async def scenario(here: World, client: Client) -> None:
        handles = [
            await client.start_workflow(Deciding.run, 5.0, id=f"d-{n}", task_queue="default")
            for n in range(60)
        ]
        await asyncio.sleep(4.97)
        for handle in handles:
            with suppress(WorkflowNotFoundError):
                await handle.signal(Deciding.decide, "yes")
            await asyncio.sleep(0.001)
        outcomes = [await handle.result() for handle in handles]
        assert set(outcomes) == {"answered yes", "nobody answered"}
        # A query of a closed run replays it: the same branch.
        await here.add_scheduler("s2")
        for handle, outcome in zip(handles, outcomes, strict=True):
            seen = await handle.query(Deciding.outcome)
            assert seen == "yes" or outcome == "nobody answered"

    virtually(Deciding, [], scenario)


def test_nobody_answers_in_time_and_late_answers_change_nothing() -> None:
    async def scenario(here: World, client: Client) -> None:
        handle = await client.start_workflow(Deciding.run, 7_200.0, id="d", task_queue="default")
        assert await handle.result() == "nobody answered"
        with pytest.raises(WorkflowNotFoundError, match="closed"):
            await handle.signal(Deciding.decide, "yes")
        assert await handle.query(Deciding.outcome) is None

    virtually(Deciding, [], scenario)


@pytest.mark.parametrize("cached", [0, 100])
def test_asyncio_s_own_tools_are_durable(cached: int) -> None:
    async def main() -> None:
        async with world([Together], max_cached=cached) as here:
            client = Client.from_backend(here.client)
            result = await client.execute_workflow(Together.run, id="t", task_queue="default")
            assert result == [[1], [0.5, 2, 3, -1], [0, 1, 2, 3, 4]]

    run(main())
