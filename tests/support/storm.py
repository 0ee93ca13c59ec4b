"""A seeded deployment in a storm of faults, and what must be true when it has passed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.mortal import Mortal, rest_of
from support.world import World

from perdure import activity, workflow
from perdure.authoring.app import App
from perdure.core.durations import SECOND
from perdure.core.errors import WorkflowNotFoundError
from perdure.core.events import WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.state import Status
from perdure.engine.activities.worker import ActivityWorker
from perdure.engine.scheduler import Scheduler, SchedulerOptions
from perdure.exceptions import ApplicationError
from perdure.ports.backend import Backend
from perdure.ports.members import Members
from perdure.testing.faults import (
    CrashAfter,
    CrashBefore,
    Delayed,
    Duplicated,
    Fault,
    FaultPlan,
    Refused,
    ReportedFailed,
)

SHORT = timedelta(seconds=30)
FINISHED: Counter[tuple[str, str]] = Counter()
"""How often each logical activity ran to its end, by workflow and step."""


@activity.defn
async def step(workflow_id: str, name: str) -> str:
    await asyncio.sleep(0.05)
    FINISHED[workflow_id, name] += 1
    return name


@activity.defn
async def flaky(workflow_id: str, name: str) -> int:
    attempt = activity.info().attempt
    if attempt < 3:
        raise ApplicationError("not yet")
    FINISHED[workflow_id, name] += 1
    return attempt


@workflow.defn
class Errand:
    """Activities, a retry, timers, two signals and a decision between them."""

    def __init__(self) -> None:
        self.letters: list[int] = []

    @workflow.run
    async def run(self, letters: int) -> list[Any]:
        me = workflow.info().workflow_id
        first = await workflow.execute_activity(step, args=[me, "a"], start_to_close_timeout=SHORT)
        await workflow.sleep(timedelta(seconds=0.3))
        pair = await asyncio.gather(
            workflow.execute_activity(step, args=[me, "b"], start_to_close_timeout=SHORT),
            workflow.execute_activity(flaky, args=[me, "c"], start_to_close_timeout=SHORT),
        )
        await workflow.sleep(timedelta(seconds=3))
        await workflow.wait_condition(lambda: len(self.letters) >= letters)
        last = await workflow.execute_activity(step, args=[me, "d"], start_to_close_timeout=SHORT)
        return [first, *pair, last, self.letters]

    @workflow.signal
    def post(self, number: int) -> None:
        self.letters.append(number)


def faults(level: float) -> dict[Fault, float]:
    return {
        CrashBefore(): 0.002 * level,
        CrashAfter(): 0.002 * level,
        ReportedFailed(): 0.005 * level,
        Refused(): 0.005 * level,
        Delayed(): 0.01 * level,
        Duplicated(): 0.005 * level,
    }


async def storm(
    seed: int, *, level: float = 1.0, workflows: int = 6, letters: int = 3
) -> FaultPlan:
    """Run one seed to its end; raises AssertionError for a broken promise."""
    FINISHED.clear()
    chance = random.Random(seed)
    plan = FaultPlan(seed, rates=faults(level))
    app = App(workflows=[Errand], activities=[step, flaky])
    one = World(app)

    two_owners = chance.random() < 0.5

    def scheduler(name: str) -> Any:
        options = SchedulerOptions(
            identity=name, max_cached=chance.choice((0, 2, 100)), purge_grace=60 * SECOND
        )

        def make(backend: Backend) -> Scheduler:
            if two_owners:
                backend = replace(backend, members=_Alone(backend.members))
            return Scheduler(backend, app, converter=one.converter, options=options)

        return make

    def worker(name: str) -> Any:
        return lambda backend: ActivityWorker(
            backend, app, task_queue="default", converter=one.converter, identity=name
        )

    parts = [
        *(Mortal(one.store, plan, scheduler(f"s{i}"), rest=rest_of(seed + i)) for i in range(2)),
        *(Mortal(one.store, plan, worker(f"w{i}"), rest=rest_of(seed + 10 + i)) for i in range(2)),
    ]
    for position, part in enumerate(parts):
        part.begin(f"part-{position}")
    try:
        ids = [await one.start("Errand", letters, id=f"errand-{i}") for i in range(workflows)]
        await _post_all(one, ids, letters, seed)
        for patience in (600, 600):
            try:
                async with asyncio.timeout(patience):
                    for i in ids:
                        await one.closed(i)
                break
            except TimeoutError:
                # Too much weather to get anything done is no fault; silence afterwards is one.
                plan.calm()
        else:
            raise AssertionError(await _stuck(one, ids))
        for i in ids:
            await _judge(one, i, letters)
        # The ids are used again, while owners may remember the runs before.
        FINISHED.clear()
        for i in ids:
            await one.start("Errand", letters, id=i)
        await _post_all(one, ids, letters, seed + 1)
        try:
            async with asyncio.timeout(1_200):
                for i in ids:
                    await one.closed(i)
        except TimeoutError:
            raise AssertionError(await _stuck(one, ids)) from None
        plan.calm()
        for i in ids:
            await _judge(one, i, letters)
    finally:
        for part in parts:
            await part.end()
    deaths = sum(part.deaths for part in parts[2:])
    doubled = {k: n for k, n in FINISHED.items() if n > 1}
    total = sum(n - 1 for n in doubled.values())
    reported_lost = sum(n for (_, call), n in plan.met.items())
    assert total <= deaths + reported_lost, (
        f"more activities ran twice than faults explain: {doubled}"
    )
    return plan


class _Alone:
    """Members as somebody sees them who believes to be the only one."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def __getattr__(self, name: str) -> Any:
        return getattr(self._members, name)

    async def list(self, group: tuple[str, ...]) -> dict[str, bytes]:
        return {}


async def _post_all(one: World, ids: list[str], letters: int, seed: int) -> None:
    senders = [_post(one, i, letters, random.Random(seed * 97 + n)) for n, i in enumerate(ids)]
    await asyncio.gather(*senders)


async def _post(one: World, workflow_id: str, letters: int, chance: random.Random) -> None:
    for number in range(letters):
        await asyncio.sleep(chance.random() * 4)
        await one.signal(workflow_id, "post", number)


async def _judge(one: World, workflow_id: str, letters: int) -> None:
    entry = await one.closed(workflow_id)
    assert entry.status is Status.COMPLETED, f"{workflow_id}: {entry.status} {entry.failure}"
    result = one.converter.from_payload(entry.result)
    assert result[:2] == ["a", "b"] and result[2] >= 3 and result[3] == "d", (
        f"{workflow_id}: {result}"
    )
    # An owner that dies between two signals may swap them; without a fault they keep their order.
    assert sorted(result[4]) == list(range(letters)), f"{workflow_id}: signals {result[4]}"
    history = await one.history(workflow_id)
    started = history.started.event
    assert isinstance(started, WorkflowStarted)
    replayed = Instance(
        one.app.workflows["Errand"],
        started,
        history.started.timestamp,
        workflow_id=workflow_id,
        task_queue="default",
        namespace="default",
        converter=one.converter,
    )
    for turn in history.all_turns:
        events = [(e.seq, e.timestamp, e.event) for e in turn.events]
        replayed.replay(events, turn.record.commands, joined=turn.record.joined)
    _timers_were_never_early(history.all_turns)


def _timers_were_never_early(turns: list[Any]) -> None:
    for turn in turns:
        for applied in turn.events:
            due = getattr(applied.event, "due", None)
            if due is not None and applied.timestamp < due:
                # Allowed in the log, but then the core armed it again.
                assert any(getattr(c, "due", None) == due for c in turn.record.commands)


async def _stuck(one: World, ids: list[str]) -> str:
    lines = ["these workflows never ended:"]
    for i in ids:
        entry = await one.entry(i)
        if entry is None or entry.is_open:
            lines.append(f"  {i}: {entry}")
            try:
                history = await one.history(i)
            except (AssertionError, WorkflowNotFoundError):
                continue
            lines += [
                f"    k={turn.record.k} seq={turn.stored.seq} applied={turn.record.applied} "
                f"events={[type(e.event).__name__ for e in turn.events]} "
                f"commands={[type(c).__name__ for c in turn.record.commands]}"
                for turn in history.all_turns
            ]
    return "\n".join(lines)


__all__ = ["storm"]
