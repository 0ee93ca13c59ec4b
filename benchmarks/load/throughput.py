"""How many workflows a second go from start to end, so many at a time."""

from __future__ import annotations

import json

from load.events import Events
from load.measuring import Outcome, closed_loop
from load.session import NAMESPACE, Session
from load.world import TEXT, FiveSteps, OneStep

_QUEUE = "default"
_STEPS = 5


class WrongResult(Exception):
    """A workflow returned something else than it was given."""


async def one_step(on: Session) -> Outcome:
    """Started by the client, awaited by the public events: workflows/s."""
    return await _started(on, OneStep, 1)


async def five_steps(on: Session) -> Outcome:
    """As :func:`one_step` with five activities one after the other: activities/s."""
    return await _started(on, FiveSteps, _STEPS)


async def _started(on: Session, workflow: type, weight: int) -> Outcome:
    events = await Events.listen(on.nats, workflow.__name__)
    ids = on.ids()

    async def once() -> None:
        workflow_id = next(ids)
        result = events.result(workflow_id)
        await on.client.start_workflow(workflow, TEXT, id=workflow_id, task_queue=_QUEUE)
        check(await result)

    return (await closed_loop(on, once, **on.parameters, weight=weight)).outcome()


async def execute(on: Session) -> Outcome:
    """Everything by ``client.execute_workflow``: workflows/s."""
    ids = on.ids()

    async def once() -> None:
        workflow_id = next(ids)
        check(
            await on.client.execute_workflow(OneStep.run, TEXT, id=workflow_id, task_queue=_QUEUE)
        )

    return (await closed_loop(on, once, **on.parameters)).outcome()


async def door(on: Session) -> Outcome:
    """Started by a JetStream publish to the durable subject: workflows/s."""
    events = await Events.listen(on.nats, OneStep.__name__)
    stream = on.nats.jetstream()
    body = json.dumps({"input": TEXT}).encode()
    ids = on.ids()

    async def once() -> None:
        workflow_id = next(ids)
        result = events.result(workflow_id)
        await stream.publish_async(
            f"perdure.{NAMESPACE}.start.{OneStep.__name__}.{workflow_id}", body, wait_stall=60
        )
        check(await result)

    return (await closed_loop(on, once, **on.parameters)).outcome()


def check(result: object) -> None:
    """Raises WrongResult: a fast engine that is wrong has no figure."""
    if result != TEXT:
        raise WrongResult(f"got {result!r}")
