"""One turn: apply, commit one record, perform its commands, acknowledge (rules 1, 3 and 4)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable
from typing import Any

import msgspec

from perdure.core.commands import RejectSignal
from perdure.core.events import OUTSIDE, Event, WorkflowSignaled, WorkflowStarted
from perdure.core.records import JOINED, Record, encode_record
from perdure.core.state import StateEntry
from perdure.engine.history import HistoryGone, Turn, load_history
from perdure.engine.payloads import INLINE_LIMIT, blob_prefix, may_hold_ref
from perdure.engine.scheduler import closing, marks
from perdure.engine.scheduler.context import logger
from perdure.engine.scheduler.desk import Desk
from perdure.engine.scheduler.effects import (
    dead_letter_garbage,
    in_turn,
    is_garbage,
    perform,
)
from perdure.engine.scheduler.live import Item, LiveRun
from perdure.ports.addresses import Stored
from perdure.ports.errors import Conflict, PortError, UnknownOutcome

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
_MARK_AFTER = 1.0


async def apply(desk: Desk, live: LiveRun, items: Iterable[Item]) -> None:
    """Run the code on ``items`` until it ends; what comes after its end stays pending."""
    todo = list(items)
    if live.joined:
        # Garbage too: a record that does not name it would be void for ever.
        outside = [i for i in todo if i.event is None or isinstance(i.event, OUTSIDE)]
        todo = [i for i in todo if i.event is not None and not isinstance(i.event, OUTSIDE)]
        events = [
            (await _event(desk, item), item.timestamp) for item in outside if item.event is not None
        ]
        live.commands += live.instance.apply_together(events)
        live.unrecorded += outside
    for item in todo:
        if live.instance.close is not None:
            if isinstance(item.event, WorkflowStarted):
                # Terminated by what made its first record void: a history has its start.
                live.unrecorded.append(item)
            return
        event = item.event
        if event is not None:
            if may_hold_ref(item.data):
                event = await _event(desk, item)
            live.commands += live.instance.apply(event, timestamp=item.timestamp)
        live.unrecorded.append(item)


async def _event(desk: Desk, item: Item) -> Event:
    event = item.event
    assert event is not None
    if not may_hold_ref(item.data):
        return event
    return await desk.context.payloads.restore_event(event, owner=desk.address.workflow_id)


async def commit(desk: Desk, live: LiveRun) -> None:
    """Record what was applied and decided, and do as decided.

    Raises Conflict when another owner recorded something first, or nobody knows.
    """
    items = live.unrecorded
    record, data = await _record(desk, live, items)
    if not live.tip and asyncio.get_running_loop().time() - live.since > desk.context.first_record:
        # Whoever stood still for so long may meet an id that was closed and purged meanwhile.
        raise Conflict("too long on its way to be an id's first record")
    try:
        seq = await desk.context.backend.log.commit(desk.address, data, after=live.tip)
    except UnknownOutcome as error:
        raise Conflict(str(error)) from error
    stored = Stored(seq, desk.context.backend.clock.now(), data)
    turn = Turn(record, stored, [item.as_applied() for item in items])
    _say_unheard(desk, live, items)
    live.committed(turn)
    desk.tip = seq
    desk.context.observer.turn(
        live.started.workflow_type, events=len(items), commands=len(record.commands)
    )
    if record.close is not None:
        await _close(desk, live, turn, items)
        return
    live.cut = 0
    await _effects(desk, live, turn, items)
    if live.was_blocked:
        await marks.forget(desk.context, desk.address, live)
    desk.ack(items)


def _say_unheard(desk: Desk, live: LiveRun, items: list[Item]) -> None:
    """Signals that reached no handler: most are typing errors."""
    unhandled = live.instance.unhandled_signals
    for item in items if unhandled else ():
        if isinstance(item.event, WorkflowSignaled) and item.event.name in unhandled:
            logger.warning(
                "workflow %r has no handler for signal %r: it is kept, and describe shows it",
                desk.address.workflow_id,
                item.event.name,
            )
    for command in live.commands:
        if isinstance(command, RejectSignal):
            logger.warning(
                "workflow %r: %s; the signal is with the dead letters",
                desk.address.workflow_id,
                command.reason,
            )


async def _record(desk: Desk, live: LiveRun, items: list[Item]) -> tuple[Record, bytes]:
    record = Record(
        run=live.run,
        k=live.k,
        applied=[item.seq for item in items],
        commands=live.commands,
        trail=live.trail,
        after=0 if live.k else live.tip,
        build=desk.context.options.build,
        flags=JOINED if live.joined else 0,
    )
    data = encode_record(record)
    if len(data) > INLINE_LIMIT:
        prefix = blob_prefix(desk.address.workflow_id, live.run, f"r{live.k}")
        moved = await desk.context.payloads.offload_commands(record.commands, prefix)
        record = msgspec.structs.replace(record, commands=moved)
        data = encode_record(record)
    if len(data) > desk.context.backend.max_message:
        record, data = await _beside_the_log(desk, live, record, data)
    return record, data


async def _beside_the_log(
    desk: Desk, live: LiveRun, record: Record, data: bytes
) -> tuple[Record, bytes]:
    """A record of very many commands lies in a blob; the log keeps its place and its close."""
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    key = blob_prefix(desk.address.workflow_id, live.run, f"record-{live.k}-{digest}")
    await desk.context.backend.blobs.put(key, data)
    record = msgspec.structs.replace(record, blob=key)
    close = [] if record.close is None else [record.close]
    return record, encode_record(msgspec.structs.replace(record, commands=close))


async def _effects(desk: Desk, live: LiveRun, turn: Turn, items: list[Item]) -> None:
    """Perform what was committed, for as long as it takes: nothing else may happen before."""
    again = False
    pause = FIRST_PAUSE
    while True:
        try:
            if any(map(is_garbage, items)):
                await dead_letter_garbage(desk.context, desk.address, items)
            performed = perform(
                desk.context,
                desk.address,
                live,
                turn.record.commands,
                record_seq=turn.stored.seq,
                again=again,
            )
            if not live.has_one_turn:
                await performed
            else:
                announced = announce_start(desk, live)
                await in_turn([performed, announced])
                _mark_soon(desk, live)
            return
        except PortError as error:
            if desk.stopping:
                # Whoever loads the run next performs what this record decided.
                raise
            desk.context.met(error)
            logger.warning("workflow %r: %r; trying again", desk.address.workflow_id, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
        again = True


async def _close(desk: Desk, live: LiveRun, turn: Turn, items: list[Item]) -> None:
    if await closing.late_events(
        desk.context,
        desk.address,
        closing=turn.record,
        start_seq=live.start_seq,
        cut=live.cut or turn.stored.seq,
        named=live.named,
    ):
        # The record is void: the log says so to whoever reads it next, this lane first.
        desk.drop_and_load()
        return
    if any(map(is_garbage, items)):
        await dead_letter_garbage(desk.context, desk.address, items)
    turns = await _all_turns(desk, live)
    await closing.end(
        desk.context,
        desk.address,
        started=live.started,
        started_at=live.started_at,
        closing=turn,
        turns=turns[:-1],
        revision=live.revision,
    )
    desk.ended = live.run
    desk.ack(items)
    desk.drop()


async def _all_turns(desk: Desk, live: LiveRun) -> list[Turn]:
    if live.turns is not None:
        return live.turns
    history = await load_history(desk.context.backend, desk.address, run=live.run)
    if history is None:
        raise HistoryGone
    return history.all_turns


def announce_start(desk: Desk, live: LiveRun) -> Coroutine[Any, Any, None]:
    """Tell everyone that the run in memory began."""
    return closing.announce_start(
        desk.context,
        desk.address,
        run=live.run,
        workflow_type=live.started.workflow_type,
        started_at=live.started_at,
    )


def _mark_soon(desk: Desk, live: LiveRun) -> None:
    """A run that lives longer than a moment is marked in STATE as under way; most never are."""

    def mark() -> None:
        desk.mark_at = None
        if desk.live is live:
            entry = closing.open_entry(desk.address, live.started, live.started_at, k=live.k - 1)
            what = f"marking workflow {desk.address.workflow_id!r} as under way"
            desk.context.background(write(entry), what)

    async def write(entry: StateEntry) -> None:
        async with desk.context.marking:
            live.revision = await closing.write_forward(desk.context, entry, revision=live.revision)

    if desk.mark_at is None:
        desk.mark_at = asyncio.get_running_loop().call_later(_MARK_AFTER, mark)
