"""Runs that this build cannot go on with (rule 15).

Blocked is (run, build): STATE says so and why, events go on being acknowledged (they are in the
log), and any other build, or this one when it starts anew, tries again. Terminating needs no code.
"""

from __future__ import annotations

import msgspec

from perdure.core.commands import (
    CancelActivity,
    CancelTimer,
    Command,
    ScheduleActivity,
    StartTimer,
    TerminateWorkflow,
)
from perdure.core.events import (
    NewerEvent,
    WorkflowStarted,
    WorkflowTerminateRequested,
    decode_event,
)
from perdure.core.failures import Failure
from perdure.core.records import NewerRecord, Record, encode_record
from perdure.core.state import StateEntry, decode_state, encode_state
from perdure.engine.history import RunHistory, Turn, load_history
from perdure.engine.scheduler import closing
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.live import Item
from perdure.engine.scheduler.opening import Blocked, unstarted, void_by
from perdure.ports.addresses import Address, Stored
from perdure.ports.errors import Conflict


async def block(context: Context, address: Address, blocked: Blocked) -> str:
    """Say in STATE that this build cannot go on with the open run, and why; which run that is."""
    build = context.options.build or "?"
    while True:
        found = await context.backend.state.read(address.workflow_id)
        if found is None:
            return ""
        entry = decode_state(found[0])
        if not entry.is_open or (entry.blocked == blocked.reason and entry.blocked_build == build):
            return entry.run
        marked = msgspec.structs.replace(entry, blocked=blocked.reason, blocked_build=build)
        try:
            await context.backend.state.update(
                address.workflow_id, encode_state(marked), revision=found[1]
            )
        except Conflict:
            continue
        context.observer.blocked(entry.workflow_type, blocked.reason)
        logger.error("workflow %r is blocked: %s", address.workflow_id, blocked.reason)
        return entry.run


async def terminate(context: Context, address: Address, item: Item) -> bool:
    """End a blocked run without its code; False when not even its log can be read."""
    event = item.event
    assert isinstance(event, WorkflowTerminateRequested)
    found = await context.backend.state.read(address.workflow_id)
    entry = decode_state(found[0]) if found is not None else None
    if entry is None or not entry.is_open or event.run not in ("", entry.run):
        return True
    try:
        history = await load_history(context.backend, address)
        mine = history if history is not None and history.run == entry.run else None
        if mine is not None and await _has_ended(context, address, mine):
            await end_from_log(context, address, mine)
            return True
        first = [] if mine is not None else (await unstarted(context, address))[:1]
    except (NewerEvent, NewerRecord) as error:
        logger.error(
            "workflow %r cannot be terminated by this build: %s", address.workflow_id, error
        )
        return False
    failure = Failure(
        message=event.reason or "Workflow terminated", kind="terminated", details=event.details
    )
    commands: list[Command] = [*_everything_open(mine), TerminateWorkflow(failure=failure)]
    applied = [*first, item]
    record = Record(
        run=entry.run,
        k=mine.k + 1 if mine is not None else 0,
        applied=[one.seq for one in applied],
        commands=commands,
        trail=mine.trail if mine is not None else [],
        after=0 if mine is not None or history is None else history.tip,
        build=context.options.build,
    )
    data = encode_record(record)
    seq = await context.backend.log.commit(
        address, data, after=history.tip if history is not None else 0
    )
    stored = Stored(seq, context.backend.clock.now(), data)
    turn = Turn(record, stored, [one.as_applied() for one in applied])
    started, at = _start(mine, first, entry)
    if started is not None:
        turns = mine.turns if mine is not None else []
        await closing.end(
            context, address, started=started, started_at=at, closing=turn, turns=turns
        )
    return True


async def _has_ended(context: Context, address: Address, history: RunHistory) -> bool:
    """Whether somebody else ended the run meanwhile."""
    return history.closing is not None and not await void_by(context, address, history)


async def end_from_log(context: Context, address: Address, history: RunHistory) -> None:
    """Repeat the effects of a close that the log has and STATE does not know of."""
    turn = history.closing
    started = history.started.event
    assert turn is not None and isinstance(started, WorkflowStarted)
    await closing.end(
        context,
        address,
        started=started,
        started_at=history.started.timestamp,
        closing=turn,
        turns=history.turns,
    )


def _start(
    history: RunHistory | None, first: list[Item], entry: StateEntry
) -> tuple[WorkflowStarted | None, int]:
    if history is not None and isinstance(history.started.event, WorkflowStarted):
        return history.started.event, history.started.timestamp
    if first and isinstance(first[0].event, WorkflowStarted):
        return first[0].event, first[0].timestamp
    if entry.starting is not None:
        event = decode_event(bytes(entry.starting))
        if isinstance(event, WorkflowStarted):
            return event, entry.started_at
    return None, entry.started_at


def _everything_open(history: RunHistory | None) -> list[Command]:
    """Cancellations of all that the history began and did not take back: too many do no harm."""
    if history is None:
        return []
    begun: dict[int, Command] = {}
    for turn in history.turns:
        for command in turn.record.commands:
            match command:
                case ScheduleActivity():
                    begun[command.n] = CancelActivity(n=command.n, forget=True)
                case StartTimer():
                    begun[command.n] = CancelTimer(n=command.n)
                case CancelTimer():
                    begun.pop(command.n, None)
                case _:
                    continue
    return list(begun.values())
