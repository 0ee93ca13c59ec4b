"""The workflows and activities of the load. Arguments and results of 100 bytes go all the way."""

import asyncio
import time
from datetime import timedelta

from perdure import activity, workflow

TEXT = "x" * 98
"""100 bytes as JSON."""

_LIMIT = timedelta(seconds=60)


@activity.defn
async def echo(text: str) -> str:
    return text


@activity.defn
async def clock(text: str) -> int:
    """When it began, in nanoseconds of the machine's clock."""
    return time.time_ns()


@workflow.defn
class OneStep:
    @workflow.run
    async def run(self, text: str) -> str:
        return await workflow.execute_activity(echo, text, start_to_close_timeout=_LIMIT)


@workflow.defn
class FiveSteps:
    @workflow.run
    async def run(self, text: str) -> str:
        for _ in range(5):
            text = await workflow.execute_activity(echo, text, start_to_close_timeout=_LIMIT)
        return text


@workflow.defn
class FirstStep:
    """Says when its activity began."""

    @workflow.run
    async def run(self, text: str) -> int:
        return await workflow.execute_activity(clock, text, start_to_close_timeout=_LIMIT)


@workflow.defn
class Counter:
    """Takes signals until it has had so many."""

    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    async def run(self, wanted: int) -> int:
        await workflow.wait_condition(lambda: self.count >= wanted)
        return self.count

    @workflow.signal
    def bump(self, text: str) -> None:
        self.count += 1


@workflow.defn
class Waiting:
    """Waits for one signal and answers it."""

    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, text: str) -> str:
        await workflow.wait_condition(lambda: self.word != "")
        return self.word

    @workflow.signal
    def go(self, text: str) -> None:
        self.word = text


@workflow.defn
class Long:
    """Makes a history of so many steps, then waits."""

    def __init__(self) -> None:
        self.done = False
        self.word = ""

    @workflow.run
    async def run(self, steps: int) -> str:
        text = TEXT
        for _ in range(steps):
            text = await workflow.execute_activity(echo, text, start_to_close_timeout=_LIMIT)
        self.done = True
        await workflow.wait_condition(lambda: self.word != "")
        return self.word

    @workflow.signal
    def go(self, text: str) -> None:
        self.word = text

    @workflow.query
    def is_done(self) -> bool:
        return self.done


@workflow.defn
class Sleepers:
    """Arms so many timers of an hour, and ends with a signal."""

    def __init__(self) -> None:
        self.word = ""

    @workflow.run
    async def run(self, timers: int) -> str:
        hour = timedelta(hours=1)
        sleeps = [asyncio.create_task(workflow.sleep(hour)) for _ in range(timers)]
        await workflow.wait_condition(lambda: self.word != "" or sleeps[0].done())
        return self.word

    @workflow.signal
    def go(self, text: str) -> None:
        self.word = text


@workflow.defn
class Alarm:
    """How late its code goes on after a sleep, in nanoseconds of the machine's clock.

    The clock is read against the rules of workflow code: the figure stands in the result, and no
    command depends on it.
    """

    @workflow.run
    async def run(self, milliseconds: int) -> int:
        due = workflow.time_ns() + milliseconds * 1_000_000
        await workflow.sleep(timedelta(milliseconds=milliseconds))
        return time.time_ns() - due
