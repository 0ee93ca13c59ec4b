"""Many workflows that wait: what they take in the scheduler, and how soon one of them answers."""

from __future__ import annotations

import time

from harness.usage import resident_bytes

from load.events import Events
from load.measuring import Outcome, Window, percentile, settled, spread
from load.session import Session
from load.world import TEXT, Waiting

_MEGABYTE = 1_000_000


async def answers(on: Session) -> Outcome:
    """Memory with all of them waiting; then single signals, to old ones and new ones alike.

    An answer is a workflow's result, from the call of ``handle.signal`` on.
    """
    workflows, asked = on.parameters["workflows"], on.parameters["asked"]
    before = resident_bytes(on.groups["scheduler"])
    await _start_all(on, workflows)
    # What the scheduler still does about new workflows is not the cost of an answer.
    await settled(on, "scheduler", within=on.parameters["settling"])
    holding = resident_bytes(on.groups["scheduler"])
    taken: list[float] = []
    meter, begun = on.meter(), time.monotonic()
    for number in range(asked):
        workflow_id = f"{on.prefix}-{number * workflows // asked}"
        handle = on.client.get_workflow_handle(workflow_id)
        start = time.perf_counter()
        await handle.signal(Waiting.go, TEXT)
        await handle.result()
        taken.append((time.perf_counter() - start) * 1_000)
    window = Window.since(begun, meter, asked)
    older = taken[: asked // 2]
    return window.outcome(
        memory=holding / _MEGABYTE,
        memory_before=before / _MEGABYTE,
        p50=percentile(taken, 0.5),
        p99=percentile(taken, 0.99),
        max=max(taken),
        p50_older=percentile(older or taken, 0.5),
    )


async def _start_all(on: Session, workflows: int) -> None:
    events = await Events.listen(on.nats, Waiting.__name__)

    async def start(number: int) -> None:
        await on.client.start_workflow(
            Waiting.run, TEXT, id=f"{on.prefix}-{number}", task_queue="default"
        )
        if number % 100 == 0:
            on.progress(number / workflows * 0.9)

    await spread([lambda n=n: start(n) for n in range(workflows)], concurrency=100)
    await events.until_started(workflows)
