"""How late timers fire while many more are pending."""

from __future__ import annotations

import asyncio
import time

from harness.usage import resident_bytes

from load.events import Events
from load.measuring import Outcome, Window, percentile, settled
from load.session import NAMESPACE, Session
from load.world import Alarm, Sleepers

_MILLION = 1_000_000
_PER_WORKFLOW = 500
_AT_ONCE = 8
_GLANCE = 0.02


async def lateness(on: Session) -> Outcome:
    """``pending`` timers of an hour, then ``alarms`` of one to five seconds: how much later than due
    the workflow's code goes on, in milliseconds."""
    pending, alarms = on.parameters["pending"], on.parameters["alarms"]
    start, meter = time.monotonic(), on.meter()
    await _arm(on, pending)
    armed = Window.since(start, meter, pending)
    await settled(on, "scheduler", within=on.parameters["settling"])
    late = await _ring(on, alarms)
    return armed.outcome(
        p50=percentile(late, 0.5),
        p99=percentile(late, 0.99),
        max=max(late),
        server_memory=resident_bytes(on.groups["nats-server"]) / _MILLION,
    )


async def _arm(on: Session, pending: int) -> None:
    """Returns when the store holds them all. A few workflows arm theirs at a time."""
    sleepers = max(pending // _PER_WORKFLOW, 1)
    each = pending // sleepers
    # Each sleeper has a start event and a record besides its timers.
    messages = each + 2
    before = await _messages(on)
    for number in range(sleepers):
        await on.client.start_workflow(
            Sleepers.run, each, id=f"{on.prefix}-{number}", task_queue="default"
        )
        await _held(on, before + (number + 1 - _AT_ONCE) * messages)
        on.progress(number / sleepers * 0.8)
    await _held(on, before + sleepers * messages)


async def _held(on: Session, messages: int) -> None:
    """Returns when the log holds so many."""
    while await _messages(on) < messages:  # noqa: ASYNC110
        await asyncio.sleep(_GLANCE)


async def _messages(on: Session) -> int:
    """How many messages the log holds."""
    info = await on.nats.jetstream().stream_info(f"PERDURE_{NAMESPACE}_LOG")
    return info.state.messages


async def _ring(on: Session, alarms: int) -> list[float]:
    events = await Events.listen(on.nats, Alarm.__name__)
    results: list[asyncio.Future[int]] = []
    for number in range(alarms):
        workflow_id = f"{on.prefix}-alarm-{number}"
        results.append(events.result(workflow_id))
        # Spread over four seconds, some of them below the second where the store is coarse.
        milliseconds = 500 + number * 4_000 // alarms
        await on.client.start_workflow(
            Alarm.run, milliseconds, id=workflow_id, task_queue="default"
        )
    return [value / _MILLION for value in await asyncio.gather(*results)]
