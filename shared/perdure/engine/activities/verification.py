"""What is published late or again is verified by its receiver (rule 8 of the log).

The outcome of an activity is in the log before its task leaves the queue. So one look tells
whether a task still counts: its run is open, the log holds no outcome of this attempt or a later
one, and the queue's message for its key is the one in hand.
"""

import asyncio
from typing import Final

from perdure.core.durations import SECOND
from perdure.core.events import (
    ActivityAttemptFailed,
    ActivityCanceled,
    ActivityCompleted,
    ActivityFailed,
    NewerEvent,
    UnreadableEvent,
    decode_event,
)
from perdure.core.state import decode_state
from perdure.core.tasks import ActivityTask
from perdure.engine.activities.insistence import insist
from perdure.engine.activities.leases import Held
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend

LATE: Final = 30 * SECOND
"""A task published longer than this after its cause may have been overtaken."""
_PAGE: Final = 256
_CERTAIN: Final = 2.0


def address_of(task: ActivityTask) -> Address:
    """Where in the log the outcomes of ``task`` belong."""
    return Address(task.workflow_queue, task.workflow_id)


def is_doubtful(held: Held, task: ActivityTask) -> bool:
    """Whether ``task`` must be verified before anything is done for it."""
    late = task.cause_at > 0 and held.message.timestamp - task.cause_at > LATE
    return task.again or held.attempt > 1 or held.is_old or late


async def still_counts(backend: Backend, held: Held, task: ActivityTask) -> bool:
    """Whether there is anything left to do for the task in hand."""

    async def look() -> bool:
        return (
            await _is_run_open(backend, task)
            and not await has_outcome(backend, task)
            and await _is_current(backend, held)
        )

    return await insist(held, "verify a task", look)


async def counts_since(backend: Backend, held: Held, task: ActivityTask, looked: float) -> bool:
    """Whether a task that counted at ``looked``, in loop time, still does: a store that let its worker
    wait may have given it to another one meanwhile."""
    if asyncio.get_running_loop().time() - looked <= _CERTAIN:
        return True
    return await still_counts(backend, held, task)


async def has_outcome(backend: Backend, task: ActivityTask) -> bool:
    """Whether the log holds an outcome of the activity, or a failure of this attempt."""
    after = task.cause_seq
    while True:
        page = await backend.log.following(address_of(task), Lane.ENGINE, after, _PAGE)
        if any(_is_outcome(stored.data, task) for stored in page):
            return True
        if len(page) < _PAGE:
            return False
        after = page[-1].seq


def _is_outcome(data: bytes, task: ActivityTask) -> bool:
    try:
        event = decode_event(data)
    except (UnreadableEvent, NewerEvent):
        return False
    match event:
        case ActivityCompleted() | ActivityFailed() | ActivityCanceled():
            return event.run == task.run and event.n == task.n
        case ActivityAttemptFailed():
            same = event.run == task.run and event.n == task.n
            return same and event.attempt >= task.attempt
        case _:
            return False


async def _is_run_open(backend: Backend, task: ActivityTask) -> bool:
    found = await backend.state.read(task.workflow_id)
    if found is None:
        return False
    entry = decode_state(found[0])
    return entry.is_open and entry.run == task.run


async def _is_current(backend: Backend, held: Held) -> bool:
    current = await backend.tasks.current(held.key)
    return current is not None and current.seq == held.message.seq
