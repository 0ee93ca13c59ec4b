"""How fast a long history is brought back: decided again in the core alone, and cold from the log.

The histories are real: workflows that the deployment ran, still open, read here as a scheduler reads
them. An event is one message of the inbox (an activity's result); its record isn't counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import islice

from load.events import Events
from load.measuring import Outcome, Window
from load.session import Session
from load.world import Long
from perdure.authoring.app import App
from perdure.converter import DataConverter
from perdure.core.machine import Instance
from perdure.engine.history import RunHistory, WorkflowStarted, load_history
from perdure.ports.addresses import Address

_QUEUE = "default"
_GLANCE = 0.1


async def replays(on: Session) -> Outcome:
    """Two rates of events/s: ``core`` and ``cold``."""
    histories, steps = on.parameters["histories"], on.parameters["steps"]
    addresses = [Address(_QUEUE, one) for one in islice(on.ids(), histories)]
    await _make(on, addresses, steps)
    cold, loaded = await _cold(on, addresses)
    seconds = on.parameters["seconds"]
    core = _core(on, loaded, seconds)
    return {
        "cold": cold.outcome(),
        "core": core.outcome(),
        "length": sum(len(turn.events) for turn in loaded[0][1].turns),
    }


async def _make(on: Session, addresses: list[Address], steps: int) -> None:
    events = await Events.listen(on.nats, Long.__name__)
    for address in addresses:
        await on.client.start_workflow(Long.run, steps, id=address.workflow_id, task_queue=_QUEUE)
    await events.until_started(len(addresses))
    for number, address in enumerate(addresses):
        handle = on.client.get_workflow_handle(address.workflow_id)
        while not await handle.query(Long.is_done):  # noqa: ASYNC110
            await asyncio.sleep(_GLANCE)
        on.progress((number + 1) / len(addresses) * 0.8)


async def _cold(
    on: Session, addresses: list[Address]
) -> tuple[Window, list[tuple[Address, RunHistory]]]:
    """Each loaded from JetStream and replayed, one after the other, as an owner does."""
    loaded: list[tuple[Address, RunHistory]] = []
    replayed = _replayer(on)
    events = 0
    meter, start = on.meter(), time.monotonic()
    for address in addresses:
        history = await load_history(on.client.backend, address)
        if history is None:
            raise LookupError(f"{address.workflow_id} has no log")
        events += replayed(address, history)
        loaded.append((address, history))
    return Window.since(start, meter, events), loaded


def _core(on: Session, loaded: list[tuple[Address, RunHistory]], seconds: float) -> Window:
    """The same histories from memory, again and again."""
    replayed = _replayer(on)
    events = 0
    meter, start = on.meter(), time.monotonic()
    while events == 0 or time.monotonic() - start < seconds:
        for address, history in loaded:
            events += replayed(address, history)
    return Window.since(start, meter, events)


def _replayer(on: Session) -> Callable[[Address, RunHistory], int]:
    definition = App(workflows=[Long]).workflow(Long.__name__)
    converter = DataConverter.default().payload_converter

    def replay(address: Address, history: RunHistory) -> int:
        first = history.started
        assert isinstance(first.event, WorkflowStarted)
        instance = Instance(
            definition,
            first.event,
            first.timestamp,
            workflow_id=address.workflow_id,
            task_queue=address.queue,
            namespace=on.client.namespace,
            converter=converter,
        )
        events = 0
        for turn in history.turns:
            applied = [(one.seq, one.timestamp, one.event) for one in turn.events]
            instance.replay(applied, turn.record.commands, joined=turn.record.joined)
            events += len(applied)
        instance.dispose()
        return events

    return replay
