"""What closed workflows cost those that come after: speed, server memory and disk, step by step."""

from __future__ import annotations

import time
from typing import Any

from harness.usage import resident_bytes, stored_bytes

from load.events import Events
from load.measuring import Outcome, Window, spread
from load.session import Session
from load.throughput import check
from load.world import TEXT, OneStep

_MEGABYTE = 1_000_000


async def closed(on: Session) -> Outcome:
    """``steps`` times ``workflows`` one-activity workflows. The rate is the last step's."""
    workflows, steps = on.parameters["workflows"], on.parameters["steps"]
    events = await Events.listen(on.nats, OneStep.__name__)
    ids = on.ids()

    async def once() -> None:
        workflow_id = next(ids)
        result = events.result(workflow_id)
        await on.client.start_workflow(OneStep.run, TEXT, id=workflow_id, task_queue="default")
        check(await result)

    await spread([once] * min(500, workflows), concurrency=on.parameters["concurrency"])
    made: list[dict[str, Any]] = []
    for step in range(steps):
        meter, start = on.meter(), time.monotonic()
        await spread([once] * workflows, concurrency=on.parameters["concurrency"])
        last = Window.since(start, meter, workflows)
        made.append(
            {
                "closed": (step + 1) * workflows,
                "rate": last.units / last.seconds,
                "server_memory": resident_bytes(on.groups["nats-server"]) / _MEGABYTE,
                "cpu": last.cpu,
                "others": last.others,
                "disk": stored_bytes(on.store) / _MEGABYTE,
            }
        )
        on.progress((step + 1) / steps)
    newest = made[-1]
    return {
        "rate": newest["rate"],
        "steps": made,
        "kept": newest["rate"] / made[0]["rate"] * 100,
        "disk": newest["disk"] * _MEGABYTE / newest["closed"],
        "server_memory": newest["server_memory"],
        "cpu": newest["cpu"],
        "others": newest["others"],
    }
