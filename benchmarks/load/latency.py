"""How long one workflow takes when nothing else runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from load.measuring import Outcome, closed_loop, percentile
from load.session import Session
from load.throughput import check
from load.world import TEXT, FirstStep, OneStep

_MILLION = 1_000_000


async def whole(on: Session) -> Outcome:
    """From the call of ``client.execute_workflow`` to its result, one after the other."""

    async def once(workflow_id: str) -> int:
        start = time.perf_counter_ns()
        result = await on.client.execute_workflow(
            OneStep.run, TEXT, id=workflow_id, task_queue="default"
        )
        taken = time.perf_counter_ns() - start
        check(result)
        return taken

    return await _alone(on, once)


async def first_step(on: Session) -> Outcome:
    """From the call of ``client.execute_workflow`` to the first line of the activity."""

    async def once(workflow_id: str) -> int:
        start = time.time_ns()
        begun = await on.client.execute_workflow(
            FirstStep.run, TEXT, id=workflow_id, task_queue="default"
        )
        return begun - start

    return await _alone(on, once)


async def _alone(on: Session, once: Callable[[str], Awaitable[int]]) -> Outcome:
    taken: list[float] = []
    ids = on.ids()

    async def measured() -> None:
        taken.append(await once(next(ids)) / _MILLION)

    window = await closed_loop(on, measured, concurrency=1, **on.parameters)
    steady = taken[-window.units :]
    return window.outcome(p50=percentile(steady, 0.5), p99=percentile(steady, 0.99))
