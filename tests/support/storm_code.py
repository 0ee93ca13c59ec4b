"""The workflows and activities of the storm: every kind of life and end that a run can have."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from perdure import activity, workflow
from perdure.authoring.app import App
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError
from perdure.workflow import ActivityCancellationType

SHORT = timedelta(seconds=30)
_PATIENT = RetryPolicy(initial_interval=timedelta(seconds=45), backoff_coefficient=1.0)
FINISHED: Counter[tuple[str, str]] = Counter()
"""How often each logical activity ran to its end, by run and step."""


def _count(name: str) -> None:
    info = activity.info()
    FINISHED[str(info.workflow_run_id), name] += 1


@activity.defn
async def step(name: str) -> str:
    await asyncio.sleep(0.05)
    _count(name)
    return name


@activity.defn
async def flaky(name: str) -> int:
    attempt = activity.info().attempt
    if attempt < 3:
        raise ApplicationError("not yet")
    _count(name)
    return attempt


@activity.defn
async def second_time(name: str) -> int:
    attempt = activity.info().attempt
    if attempt < 2:
        raise ApplicationError("not yet")
    _count(name)
    return attempt


@activity.defn
async def counting(to: int) -> int:
    """Goes on where the attempt before was."""
    details = activity.info().heartbeat_details
    for number in range(int(details[0]) if details else 0, to):
        activity.heartbeat(number + 1)
        await asyncio.sleep(1)
    _count("counted")
    return to


@activity.defn
async def endless() -> None:
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(1)
    except asyncio.CancelledError:
        await asyncio.sleep(0.5)
        raise


async def _do(what: Any, *args: Any, **options: Any) -> Any:
    return await workflow.execute_activity(
        what, args=list(args), start_to_close_timeout=SHORT, **options
    )


@workflow.defn
class Errand:
    """Activities, a retry, timers, signals and a decision between them."""

    def __init__(self) -> None:
        self.letters: list[int] = []

    @workflow.run
    async def run(self, letters: int) -> list[Any]:
        first = await _do(step, "a")
        await workflow.sleep(timedelta(seconds=0.3))
        pair = await asyncio.gather(_do(step, "b"), _do(flaky, "c"))
        await workflow.sleep(timedelta(seconds=3))
        await workflow.wait_condition(lambda: len(self.letters) >= letters)
        last = await _do(step, "d")
        return [first, *pair, last, self.letters]

    @workflow.signal
    def post(self, number: int) -> None:
        self.letters.append(number)


@workflow.defn
class Collector:
    """Ends at its ``until``-th letter, with every letter that was accepted before the end."""

    def __init__(self) -> None:
        self.letters: list[int] = []

    @workflow.run
    async def run(self, until: int) -> list[int]:
        await workflow.wait_condition(lambda: len(self.letters) >= until)
        return self.letters

    @workflow.signal
    def post(self, number: int) -> None:
        self.letters.append(number)


@workflow.defn
class Chain:
    """What it does next depends on which came first, a letter or a timer."""

    def __init__(self) -> None:
        self.letters: list[int] = []
        self.done: list[Any] = []

    @workflow.run
    async def run(self, until: int) -> list[Any]:
        for taken in range(until):
            while not await workflow.wait_condition(
                lambda n=taken: len(self.letters) > n, timeout=timedelta(seconds=1)
            ):
                await workflow.sleep(timedelta(seconds=0.2))
            self.done.append(await _do(step, f"letter-{self.letters[taken]}"))
        return [self.letters, self.done]

    @workflow.signal
    def post(self, number: int) -> None:
        self.letters.append(number)


@workflow.defn
class Careful:
    """Cleans up when it is cancelled."""

    @workflow.run
    async def run(self, _: int) -> str:
        try:
            await workflow.sleep(timedelta(days=1))
        except asyncio.CancelledError:
            await _do(step, "clean")
            raise
        return "never"


@workflow.defn
class Doomed:
    """Is terminated with an activity and a timer open."""

    @workflow.run
    async def run(self, _: int) -> str:
        await asyncio.gather(
            workflow.sleep(timedelta(days=1)),
            workflow.execute_activity(
                endless,
                start_to_close_timeout=timedelta(hours=1),
                heartbeat_timeout=timedelta(seconds=5),
            ),
        )
        return "never"


@workflow.defn
class Hasty:
    """Runs out of its time."""

    @workflow.run
    async def run(self, _: int) -> str:
        while True:
            await workflow.sleep(timedelta(seconds=4))


@workflow.defn
class Patient:
    """A retry whose backoff the core times, and progress that outlives workers."""

    @workflow.run
    async def run(self, _: int) -> list[int]:
        return [
            await _do(second_time, "late", retry_policy=_PATIENT),
            await _do(counting, 8, heartbeat_timeout=timedelta(seconds=5)),
        ]


@workflow.defn
class Polite:
    """Cancels an activity and waits until it has stopped."""

    @workflow.run
    async def run(self, _: int) -> str:
        work = workflow.start_activity(
            endless,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=5),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.sleep(timedelta(seconds=2))
        work.cancel()
        try:
            await work
        except ActivityError:
            return "stopped"
        return "done"


WORKFLOWS = (Errand, Collector, Chain, Careful, Doomed, Hasty, Patient, Polite)
APP = App(workflows=list(WORKFLOWS), activities=[step, flaky, second_time, counting, endless])

__all__ = ["APP", "FINISHED", "SHORT", "WORKFLOWS"]
