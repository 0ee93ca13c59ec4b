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
from perdure.core.state import decode_state, encode_state
from perdure.engine.history import RunHistory, Turn, load_history
from perdure.engine.scheduler import closing
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.live import Item, LiveRun
from perdure.engine.scheduler.opening import Blocked
from perdure.ports.addresses import Address, Stored
from perdure.ports.errors import Conflict


async def block(context: Context, address: Address, blocked: Blocked) -> None:
    """Say in STATE that this build cannot go on with the open run, and why."""
    while True:
        found = await context.backend.state.read(address.workflow_id)
        if found is None:
            return
        entry = decode_state(found[0])
        if not entry.is_open or (
            entry.blocked == blocked.reason and entry.blocked_build == context.options.build
        ):
            return
        marked = msgspec.structs.replace(
            entry, blocked=blocked.reason, blocked_build=context.options.build
        )
        try:
            await context.backend.state.update(
                address.workflow_id, encode_state(marked), revision=found[1]
            )
        except Conflict:
            continue
        context.observer.blocked(entry.workflow_type, blocked.reason)
        logger.error("workflow %r is blocked: %s", address.workflow_id, blocked.reason)
        return


async def unblock(context: Context, address: Address, live: LiveRun) -> None:
    """Take the mark away from a run that came into memory."""
    while True:
        found = await context.backend.state.read(address.workflow_id)
        if found is None:
            return
        entry = decode_state(found[0])
        if entry.run != live.run or not entry.blocked or not entry.is_open:
            return
        clean = msgspec.structs.replace(entry, blocked="", blocked_build="")
        try:
            live.revision = await context.backend.state.update(
                address.workflow_id, encode_state(clean), revision=found[1]
            )
        except Conflict:
            continue
        logger.info("workflow %r goes on", address.workflow_id)
        return


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
    except (NewerEvent, NewerRecord) as error:
        logger.error(
            "workflow %r cannot be terminated by this build: %s", address.workflow_id, error
        )
        return False
    mine = history if history is not None and history.run == entry.run else None
    failure = Failure(
        message=event.reason or "Workflow terminated", kind="terminated", details=event.details
    )
    commands: list[Command] = [*_everything_open(mine), TerminateWorkflow(failure=failure)]
    record = Record(
        run=entry.run,
        k=mine.k + 1 if mine is not None else 0,
        applied=[item.seq],
        commands=commands,
        trail=mine.trail if mine is not None else [],
        after=0 if mine is not None or history is None else history.tip,
        build=context.options.build,
    )
    data = encode_record(record)
    seq = await context.backend.log.commit(
        address, data, after=history.tip if history is not None else 0
    )
    turn = Turn(record, Stored(seq, context.backend.clock.now(), data), [item.as_applied()])
    started, at = _start(mine, entry.starting, entry.started_at)
    if started is not None:
        turns = mine.turns if mine is not None else []
        await closing.end(
            context, address, started=started, started_at=at, closing=turn, turns=turns
        )
    return True


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
    history: RunHistory | None, starting: msgspec.Raw | None, at: int
) -> tuple[WorkflowStarted | None, int]:
    if history is not None and isinstance(history.started.event, WorkflowStarted):
        return history.started.event, history.started.timestamp
    if starting is not None:
        event = decode_event(bytes(starting))
        if isinstance(event, WorkflowStarted):
            return event, at
    return None, at


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
