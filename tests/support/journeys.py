"""Workflows and activities for tests that kill processes.

Every activity leaves one line, ``<workflow id> <what> <attempt>`` and behind tabs its time and
process group, in the file that PERDURE_TEST_EFFECTS names, so that a test can count from outside
what was done.
"""

import asyncio
import os
import time
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError

_SHORT = timedelta(seconds=30)
_STEADY = RetryPolicy(initial_interval=timedelta(seconds=2), backoff_coefficient=1.0)


def leave(what: str) -> None:
    """One line in one write: several processes append to the file."""
    info = activity.info()
    deed = f"{info.workflow_id} {what} {info.attempt}\t{time.time()}\t{os.getpgrp()}\n"
    number = os.open(
        os.environ["PERDURE_TEST_EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    )
    try:
        os.write(number, deed.encode())
    finally:
        os.close(number)


@activity.defn
async def step(name: str) -> str:
    leave(name)
    return name


@activity.defn
async def flaky(name: str) -> str:
    """Fails twice."""
    leave(name)
    if activity.info().attempt < 3:
        raise ConnectionError(f"{name} does not answer")
    return name


@activity.defn
async def refused(name: str) -> str:
    leave(name)
    raise ApplicationError(f"{name} is refused", type="Refused", non_retryable=True)


@activity.defn
async def slow(name: str, seconds: float) -> str:
    leave(f"{name}-begun")
    await asyncio.sleep(seconds)
    leave(f"{name}-done")
    return name


@activity.defn
async def counting(to: int) -> list[int]:
    """Heartbeats each number; a later attempt goes on where the last one was. Waits for ever
    after ``to`` at the first attempt."""
    begun = int(activity.info().heartbeat_details[0]) if activity.info().heartbeat_details else 0
    leave(f"from-{begun}")
    for number in range(begun + 1, to + 1):
        activity.heartbeat(number)
        await asyncio.sleep(0.01)
    if activity.info().attempt == 1:
        leave("waits")
        while True:
            activity.heartbeat(to)
            await asyncio.sleep(0.5)
    return [begun, to]


@workflow.defn
class Journey:
    """Activities, a retry with backoff, a durable timer, a signal; ``undone``: then a failure that
    takes back what was done."""

    def __init__(self) -> None:
        self.approvals: list[Any] = []

    @workflow.run
    async def run(self, kind: str) -> list[Any]:
        done: list[Any] = [await _do(step, "book")]
        done.append(await _do(flaky, "pack"))
        await workflow.sleep(timedelta(seconds=1.5))
        await workflow.wait_condition(lambda: bool(self.approvals))
        done += self.approvals
        try:
            done.append(await _do(refused if kind == "undone" else step, "leave"))
        except ActivityError as error:
            assert isinstance(error.cause, ApplicationError)
            done += [error.cause.type, await _do(step, "unpack"), await _do(step, "unbook")]
        return done

    @workflow.signal
    def approve(self, who: Any) -> None:
        self.approvals.append(who)


async def _do(what: Any, name: str) -> str:
    return await workflow.execute_activity(
        what, name, start_to_close_timeout=_SHORT, retry_policy=_STEADY
    )


@workflow.defn
class Approval:
    """Returns what was approved."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    @workflow.run
    async def run(self) -> Any:
        await workflow.wait_condition(lambda: bool(self.given))
        return await workflow.execute_activity(
            step, str(self.given[0]), start_to_close_timeout=_SHORT
        )

    @workflow.signal
    def approve(self, who: Any) -> None:
        self.given.append(who)


@workflow.defn
class Mailbox:
    """Returns the first ``letters`` numbers that it was sent, in order, whatever the name."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    @workflow.run
    async def run(self, letters: int) -> list[Any]:
        await workflow.wait_condition(lambda: len(self.received) >= letters)
        return self.received

    @workflow.signal
    def letter(self, number: int) -> None:
        self.received.append(number)

    @workflow.signal
    def parcel(self, number: int) -> None:
        self.received.append(number)


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, seconds: float) -> str:
        await workflow.sleep(timedelta(seconds=seconds))
        return "slept"


@workflow.defn
class Retrier:
    """One activity that fails at its first attempt; ``interval`` seconds later it succeeds."""

    @workflow.run
    async def run(self, interval: float) -> str:
        rule = RetryPolicy(initial_interval=timedelta(seconds=interval), backoff_coefficient=1.0)
        return await workflow.execute_activity(
            flaky, "call", start_to_close_timeout=_SHORT, retry_policy=rule
        )


@workflow.defn
class Slow:
    @workflow.run
    async def run(self, seconds: float) -> str:
        return await workflow.execute_activity(
            slow, args=["work", seconds], start_to_close_timeout=timedelta(minutes=5)
        )


@workflow.defn
class Counting:
    @workflow.run
    async def run(self, to: int) -> list[int]:
        return await workflow.execute_activity(
            counting,
            to,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=30),
        )


@workflow.defn
class Errands:
    """``count`` activities, one after another."""

    @workflow.run
    async def run(self, count: int) -> list[str]:
        return [
            await workflow.execute_activity(step, f"errand-{n}", start_to_close_timeout=_SHORT)
            for n in range(count)
        ]


@workflow.defn
class Elsewhere:
    """An activity on a queue that nobody serves, with the deadlines given in seconds."""

    @workflow.run
    async def run(self, deadlines: dict[str, float]) -> str:
        given: dict[str, Any] = {name: timedelta(seconds=n) for name, n in deadlines.items()}
        return await workflow.execute_activity(
            step, "nobody", task_queue="nobody", start_to_close_timeout=_SHORT, **given
        )


@workflow.defn
class Unskilled:
    """An activity that no worker of the queue knows."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            "stepp",
            "x",
            start_to_close_timeout=_SHORT,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, text: str) -> str:
        return text
