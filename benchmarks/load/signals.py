"""How many signals a second workflows take: sent until every workflow has had its share."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import islice

from load.events import Events
from load.measuring import Outcome, Window, spread
from load.session import NAMESPACE, Session
from load.world import TEXT, Counter

Send = Callable[[str], Awaitable[None]]


async def by_client(on: Session) -> Outcome:
    """Through ``handle.signal``, which looks whether the workflow will read it."""

    async def send(workflow_id: str) -> None:
        await on.client.get_workflow_handle(workflow_id).signal(Counter.bump, TEXT)

    return await _signalled(on, send)


async def by_subject(on: Session) -> Outcome:
    """Through the durable subject and the gateway."""
    stream = on.nats.jetstream()
    body = json.dumps(TEXT).encode()

    async def send(workflow_id: str) -> None:
        subject = f"perdure.{NAMESPACE}.signal.{workflow_id}.{Counter.bump.__name__}"
        await (await stream.publish_async(subject, body, wait_stall=60))

    return await _signalled(on, send)


async def _signalled(on: Session, send: Send) -> Outcome:
    """One at a time to each of ``workflows``, side by side; over when all have ended."""
    workflows, each = on.parameters["workflows"], on.parameters["signals"]
    warm = max(each // 10, 1)
    events = await Events.listen(on.nats, Counter.__name__)
    ids = list(islice(on.ids(), workflows))
    results = [events.result(workflow_id) for workflow_id in ids]
    await spread([lambda one=one: _start(on, one, each + warm) for one in ids], concurrency=100)
    await events.until_started(workflows)
    sent = 0

    async def flood(workflow_id: str, count: int) -> None:
        nonlocal sent
        for _ in range(count):
            await send(workflow_id)
            sent += 1
            if sent % 500 == 0:
                on.progress(sent / (workflows * (each + warm)))

    await asyncio.gather(*(flood(one, warm) for one in ids))
    meter, start = on.meter(), time.monotonic()
    await asyncio.gather(*(flood(one, each) for one in ids))
    await asyncio.gather(*results)
    return Window.since(start, meter, workflows * each).outcome()


async def _start(on: Session, workflow_id: str, wanted: int) -> None:
    await on.client.start_workflow(Counter.run, wanted, id=workflow_id, task_queue="default")
