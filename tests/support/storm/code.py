"""The workflows and activities of the storm: every kind of life and end that a run can have."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from support.storm.chronicle import Chronicle, now
from support.storm.loop import PROCESS

from perdure import activity, workflow
from perdure.authoring.app import App
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError
from perdure.workflow import ActivityCancellationType

SHORT = timedelta(seconds=30)
BULK = 140_000
"""Characters of a text that is too large for the log."""
NOBODY = "nobodys-queue"
_PATIENT = RetryPolicy(initial_interval=timedelta(seconds=45), backoff_coefficient=1.0)
_ONCE = RetryPolicy(maximum_attempts=1)
CHRONICLE: ContextVar[Chronicle] = ContextVar("CHRONICLE")


@contextmanager
def _executing(name: str) -> Generator[int]:
    """One execution, in the chronicle; gives the attempt's number."""
    info = activity.info()
    life: Any = PROCESS.get()
    execution = CHRONICLE.get().begins(info.idempotency_key, name, info.attempt, life)
    execution.how = "raised"
    try:
        yield info.attempt
        execution.how = "returned"
    except asyncio.CancelledError:
        execution.how = "cancelled"
        raise
    finally:
        execution.ended = now()


@activity.defn
async def step(name: str) -> str:
    with _executing(name):
        await asyncio.sleep(0.05)
        return name


@activity.defn
async def flaky(name: str) -> int:
    with _executing(name) as attempt:
        if attempt < 3:
            raise ApplicationError("not yet")
        return attempt


@activity.defn
async def second_time(name: str) -> int:
    with _executing(name) as attempt:
        if attempt < 2:
            raise ApplicationError("not yet")
        return attempt


@activity.defn
async def hopeless(name: str) -> None:
    with _executing(name):
        raise ApplicationError("never", non_retryable=True)


@activity.defn
async def bulky(text: str) -> str:
    with _executing("bulky"):
        return text or "x" * BULK


@activity.defn
async def counting(to: int) -> int:
    """Goes on where the attempt before was."""
    with _executing("counting"):
        details = activity.info().heartbeat_details
        for number in range(int(details[0]) if details else 0, to):
            activity.heartbeat(number + 1)
            await asyncio.sleep(1)
        return to


@activity.defn
async def endless() -> None:
    with _executing("endless"):
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


class _Mailbox:
    """Workflows that get letters."""

    def __init__(self) -> None:
        self.letters: list[int] = []

    @workflow.signal
    def post(self, number: int) -> None:
        self.letters.append(number)

    @workflow.query
    def so_far(self) -> list[int]:
        return self.letters

    async def letters_come(self, count: int) -> None:
        await workflow.wait_condition(lambda: len(self.letters) >= count)


@workflow.defn
class Errand(_Mailbox):
    """Activities, a retry, timers, signals and a decision between them."""

    @workflow.run
    async def run(self, letters: int) -> list[Any]:
        first = await _do(step, "a")
        await workflow.sleep(timedelta(seconds=0.3))
        pair = await asyncio.gather(_do(step, "b"), _do(flaky, "c"))
        await workflow.sleep(timedelta(seconds=3))
        await self.letters_come(letters)
        last = await _do(step, "d")
        return [first, *pair, last, self.letters]


@workflow.defn
class Collector(_Mailbox):
    """Ends at its ``until``-th letter, with every letter that was accepted before the end."""

    @workflow.run
    async def run(self, until: int) -> list[int]:
        await self.letters_come(until)
        return self.letters


@workflow.defn
class Chain(_Mailbox):
    """What it does next depends on which came first, a letter or a timer."""

    @workflow.run
    async def run(self, until: int) -> list[Any]:
        done: list[Any] = []
        for taken in range(until):
            while not await workflow.wait_condition(
                lambda n=taken: len(self.letters) > n, timeout=timedelta(seconds=1)
            ):
                await workflow.sleep(timedelta(seconds=0.2))
            done.append(await _do(step, f"letter-{self.letters[taken]}"))
        return [self.letters, done]


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
        await asyncio.gather(workflow.sleep(timedelta(days=1)), _hold())
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
        work = _hold(cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)
        await workflow.sleep(timedelta(seconds=2))
        work.cancel()
        try:
            await work
        except ActivityError:
            return "stopped"
        return "done"


def _hold(**options: Any) -> Any:
    return workflow.start_activity(
        endless,
        start_to_close_timeout=timedelta(hours=1),
        heartbeat_timeout=timedelta(seconds=5),
        **options,
    )


@workflow.defn
class Brief:
    """Is over soon."""

    @workflow.run
    async def run(self, _: int) -> str:
        return await _do(step, "brief")


@workflow.defn
class Instant:
    """Is over at once, in its first record."""

    @workflow.run
    async def run(self, number: int) -> int:
        return number


@workflow.defn
class Hopeless:
    """Fails with its activity."""

    @workflow.run
    async def run(self, _: int) -> None:
        await _do(hopeless, "vain", retry_policy=_ONCE)


@workflow.defn
class Forlorn:
    """Waits for a worker that nobody runs, then for one that takes its time."""

    @workflow.run
    async def run(self, _: int) -> str:
        try:
            await _do(step, "x", task_queue=NOBODY, schedule_to_start_timeout=timedelta(seconds=4))
        except ActivityError:
            return await _do(step, "y", schedule_to_start_timeout=timedelta(hours=1))
        return "somebody"


@workflow.defn
class Bulky:
    """Its payloads are too large for the log."""

    @workflow.run
    async def run(self, _: int) -> str:
        return await _do(bulky, await _do(bulky, ""))


@workflow.defn
class Stranger(_Mailbox):
    """Only the new build knows it."""

    @workflow.run
    async def run(self, letters: int) -> list[int]:
        await _do(step, "strange")
        await self.letters_come(letters)
        return self.letters


@workflow.defn(name="Turncoat")
class Turncoat(_Mailbox):
    """As the new build has it."""

    @workflow.run
    async def run(self, letters: int) -> list[int]:
        await _do(step, "turned")
        await self.letters_come(letters)
        return self.letters


@workflow.defn(name="Turncoat")
class OldTurncoat(_Mailbox):
    """As the old build has it: it decided otherwise."""

    @workflow.run
    async def run(self, letters: int) -> list[int]:
        await workflow.sleep(timedelta(seconds=1))
        await self.letters_come(letters)
        return self.letters


_COMMON = [
    Errand, Collector, Chain, Careful, Doomed, Hasty, Patient, Polite, Brief, Instant, Hopeless,
    Forlorn, Bulky,
]  # fmt: skip
_ACTIVITIES = [step, flaky, second_time, hopeless, bulky, counting, endless]
NEW = App(workflows=[*_COMMON, Stranger, Turncoat], activities=_ACTIVITIES)
OLD = App(workflows=[*_COMMON, OldTurncoat], activities=_ACTIVITIES)
BUILDS = {"new": NEW, "old": OLD}

__all__ = ["BULK", "CHRONICLE", "NEW", "NOBODY", "OLD"]
