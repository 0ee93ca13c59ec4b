"""What is pending for a workflow, in the order in which it is applied (rule 2).

A start comes first, then what voided a close, then outsiders' events, then the engine's own, each
first in first out; the events of a voided close come last.
"""

from __future__ import annotations

from perdure.core.events import (
    ActivityCanceled,
    ActivityCompleted,
    ActivityFailed,
    NewerEvent,
    TimerFired,
    WorkflowStarted,
)
from perdure.engine.history import readable
from perdure.engine.scheduler.desk import Desk
from perdure.engine.scheduler.live import (
    COMPLETING_RANK,
    ENGINE_RANK,
    EXTERNAL_RANK,
    START_RANK,
    Item,
    LiveRun,
)
from perdure.engine.scheduler.opening import Blocked
from perdure.ports.addresses import Lane
from perdure.ports.log import Delivery


def has_pending(desk: Desk) -> bool:
    """Whether a turn would have something to do."""
    live = desk.live
    if live is None:
        return bool(desk.held)
    if desk.first or (desk.flush and live.unrecorded):
        return True
    if len(desk.held) <= len(live.unrecorded):
        return False
    applied = live.applied
    return any(seq not in applied for seq in desk.held)


def collect(desk: Desk) -> list[Item]:
    """Everything not applied yet, in order. Raises Blocked for a newer build's event."""
    items = list(desk.first)
    known = {item.seq for item in items}
    if desk.live is not None:
        known |= desk.live.applied
    for seq, delivery in desk.held.items():
        if seq not in known:
            items.append(_item(delivery, strict=not desk.blocked))
    if len(items) > 1:
        items.sort(key=lambda item: (item.rank, 0 if item.rank == COMPLETING_RANK else item.seq))
    return items


def _item(delivery: Delivery, *, strict: bool) -> Item:
    message = delivery.message
    try:
        event = readable(message.data)
    except NewerEvent as error:
        if strict:
            raise Blocked(str(error)) from error
        # A blocked run only looks for what ends it.
        event = None
    rank = EXTERNAL_RANK if delivery.lane is Lane.EXTERNAL else ENGINE_RANK
    if isinstance(event, WorkflowStarted):
        rank = START_RANK
    return Item(message.seq, message.timestamp, message.data, event, delivery.lane, delivery, rank)


def is_of_another_run(live: LiveRun, item: Item) -> bool:
    """Whether the event addresses a run that is not the one in memory."""
    event = item.event
    if event is None:
        return False
    if isinstance(event, WorkflowStarted):
        return event.run != live.run
    return event.run not in ("", live.run)


def is_before(live: LiveRun, item: Item) -> bool:
    """Whether the event was for an earlier run of the id: it lies before the record or, where that
    was purged meanwhile, before the start that this run begins with."""
    if isinstance(item.event, WorkflowStarted):
        return item.seq <= live.after
    return item.seq <= max(live.after, live.start_seq)


def outcomes(desk: Desk, live: LiveRun) -> set[int]:
    """Numbers of activities and timers whose outcome waits in the inbox."""
    found: set[int] = set()
    for seq, delivery in desk.held.items():
        if seq in live.named:
            # A timer that came early was armed again by the record that names its event.
            continue
        event = readable(delivery.message.data)
        match event:
            case ActivityCompleted() | ActivityFailed() | ActivityCanceled() | TimerFired():
                if event.run == live.run:
                    found.add(event.n)
            case _:
                continue
    return found
