"""Bringing a run into memory: fresh from its start event, or replayed from its log."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass, replace
from typing import Final

from perdure.core.errors import NondeterminismError
from perdure.core.events import OUTSIDE, Event, NewerEvent, WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.records import NewerRecord
from perdure.core.state import StateEntry, decode_state
from perdure.engine.history import RunHistory, Turn, load_history, readable
from perdure.engine.payloads import may_hold_ref
from perdure.engine.scheduler import marks, strikes
from perdure.engine.scheduler.closing import late_events
from perdure.engine.scheduler.context import Context
from perdure.engine.scheduler.live import (
    COMPLETING_RANK,
    EXTERNAL_RANK,
    LATE_RANK,
    START_RANK,
    Item,
    LiveRun,
    from_history,
    is_forged,
)
from perdure.engine.scheduler.watch import WatchedInstance
from perdure.ports.addresses import Address, Lane

_SUSPECT = 1.0
"""Seconds that a run waits for each strike that it has."""


_AT_ONCE: Final = 256
"""Turns replayed, some milliseconds, before the other workflows get their turn."""


class Blocked(Exception):
    """This build cannot go on with the run; ``history`` is what is known of it, if readable."""

    def __init__(self, reason: str, history: RunHistory | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.history = history


@dataclass(slots=True)
class Opened:
    """A run in memory, and events that its next record has to begin with."""

    live: LiveRun
    first: list[Item]
    redispatch: Turn | None


@dataclass(slots=True)
class Ended:
    """The newest run of the log is closed for good."""

    history: RunHistory


async def new_instance(
    context: Context, address: Address, started: WorkflowStarted, timestamp: int
) -> Instance:
    """Raises Blocked when this build has no code for the type (D-33)."""
    definition = context.registry.workflows.get(started.workflow_type)
    if definition is None:
        known = sorted(context.registry.workflows)
        near = difflib.get_close_matches(started.workflow_type, known, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else f"; known: {', '.join(known) or 'none'}"
        raise Blocked(
            f"no scheduler of queue {address.queue!r} knows workflow type "
            f"{started.workflow_type!r}{hint}"
        )
    kind = Instance if context.watch is None else WatchedInstance
    instance = kind(
        definition,
        started,
        timestamp,
        workflow_id=address.workflow_id,
        task_queue=address.queue,
        namespace=context.backend.namespace,
        converter=context.converter,
    )
    if isinstance(instance, WatchedInstance) and context.watch is not None:
        instance.watch, instance.workflow_id = context.watch, address.workflow_id
    return instance


async def fresh(context: Context, address: Address, item: Item, *, after: int) -> LiveRun:
    """A run whose start event was just delivered. ``after`` is the newest record of the id."""
    started = item.event
    assert isinstance(started, WorkflowStarted)
    instance = await new_instance(context, address, started, item.timestamp)
    return LiveRun(
        instance=instance,
        run=started.run,
        started=started,
        started_at=item.timestamp,
        tip=after,
        after=after,
        start_seq=item.seq,
        revision=started.revision,
        since=asyncio.get_running_loop().time(),
    )


async def open_run(context: Context, address: Address) -> Opened | Ended | None:
    """The newest run of the log; None when there is no log. Raises Blocked, HistoryGone."""
    async with context.loading:
        try:
            history = await load_history(context.backend, address)
        except (NewerEvent, NewerRecord) as error:
            raise Blocked(str(error)) from error
        if history is None:
            return None
        entry = await state_of(context, address)
    first: list[Item] = []
    if history.closing is not None:
        if entry is not None and entry.run == history.run and not entry.is_open:
            return Ended(history)
        first = await void_by(context, address, history)
        if not first:
            return Ended(history)
    await check_strikes(context, entry, history.run)
    live = await _replayed(context, address, history)
    live.joined = bool(first)
    last = history.turns[-1] if history.turns else None
    redispatch = last if history.closing is None else None
    if marks.is_marked(entry, history.run):
        await marks.lift(context, address, live)
        known = {item.seq for item in first}
        unnamed = await _unnamed(context, address, history)
        first = [item for item in unnamed if item.seq not in known] + first
        if not first:
            await marks.forget(context, address, live)
    return Opened(live, first, redispatch)


async def check_strikes(context: Context, entry: StateEntry | None, run: str) -> None:
    """Raises Blocked when the code of ``run`` has cost this build too many processes; one that cost
    it some waits until others had their turns, in case it does so again."""
    if entry is None or not (count := strikes.strikes_of(entry, run, context.options.build)):
        return
    if count >= strikes.LIMIT:
        raise Blocked(strikes.quarantine_reason(entry))
    if context.backend.clock.now() - entry.strikes[-1].at < strikes.FADES:
        await asyncio.sleep(count * _SUSPECT)


async def state_of(context: Context, address: Address) -> StateEntry | None:
    found = await context.backend.state.read(address.workflow_id)
    return decode_state(found[0]) if found is not None else None


async def void_by(context: Context, address: Address, history: RunHistory) -> list[Item]:
    """What makes the closing record void, then its own events; empty when it stands."""
    closing = history.closing
    assert closing is not None
    late = await late_events(
        context,
        address,
        closing=closing.record,
        start_seq=history.started.seq,
        cut=history.cut,
        named=history.named | set(closing.record.applied),
    )
    if not late:
        return []
    completing = [
        Item(
            e.seq,
            e.timestamp,
            e.data,
            e.event,
            Lane.ENGINE,
            rank=LATE_RANK if isinstance(e.event, OUTSIDE) else COMPLETING_RANK,
        )
        for e in closing.events
    ]
    return late + completing


async def _unnamed(context: Context, address: Address, history: RunHistory) -> list[Item]:
    """Events acknowledged while the run was blocked: in the log, and named by no record."""
    found: list[Item] = []
    for lane in (Lane.EXTERNAL, Lane.ENGINE):
        after = history.started.seq
        while page := await context.backend.log.following(address, lane, after):
            after = page[-1].seq
            for stored in page:
                event = readable(stored.data)
                if stored.seq in history.named or isinstance(event, WorkflowStarted):
                    continue
                if is_forged(event, lane) or (
                    event is not None and event.run not in ("", history.run)
                ):
                    continue
                found.append(Item(stored.seq, stored.timestamp, stored.data, event, lane))
    return found


async def unstarted(context: Context, address: Address) -> list[Item]:
    """The start event and the rest of a run that STATE knows and no record does: its start was
    acknowledged while no code for it was there. Empty when there is none."""
    entry = await state_of(context, address)
    if entry is None or not entry.is_open:
        return []
    starts: list[Item] = []
    others: list[Item] = []
    after = 0
    while page := await context.backend.log.following(address, Lane.EXTERNAL, after):
        after = page[-1].seq
        for stored in page:
            event = readable(stored.data)
            item = Item(
                stored.seq, stored.timestamp, stored.data, event, Lane.EXTERNAL, rank=EXTERNAL_RANK
            )
            if isinstance(event, WorkflowStarted):
                if event.run == entry.run and not starts:
                    starts.append(replace(item, rank=START_RANK))
            elif not item.is_forged and (event is None or event.run in ("", entry.run)):
                others.append(item)
    return (
        starts + [item for item in others if starts and item.seq > starts[0].seq] if starts else []
    )


async def _replayed(context: Context, address: Address, history: RunHistory) -> LiveRun:
    start = history.started
    if not isinstance(start.event, WorkflowStarted):
        raise Blocked("the first event of the history is not a start", history)
    try:
        return await replayed(context, address, history, start.event)
    except NondeterminismError as error:
        raise Blocked(str(error), history) from error
    except Blocked as blocked:
        blocked.history = history
        raise


async def replayed(
    context: Context, address: Address, history: RunHistory, started: WorkflowStarted
) -> LiveRun:
    """The run as its (unclosed) turns left it."""
    instance = await new_instance(context, address, started, history.started.timestamp)
    events = 0
    for number, turn in enumerate(history.turns, 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        applied: list[tuple[int, int, Event | None]] = []
        for item in turn.events:
            event = item.event
            if event is not None and may_hold_ref(item.data):
                event = await context.payloads.restore_event(event, owner=address.workflow_id)
            applied.append((item.seq, item.timestamp, event))
        instance.replay(applied, turn.record.commands, joined=turn.record.joined)
        events += len(applied)
    context.observer.loaded(started.workflow_type, events=events)
    return from_history(history, instance, started)
