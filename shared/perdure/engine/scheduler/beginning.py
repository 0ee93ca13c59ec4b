"""Having a run in memory for what is pending: fresh, loaded, or none at all."""

from __future__ import annotations

import asyncio
from enum import Enum

from perdure.core.durations import SECOND
from perdure.core.events import WorkflowStarted, WorkflowTerminateRequested
from perdure.core.state import decode_state
from perdure.engine.history import RunHistory, Turn, readable
from perdure.engine.scheduler import blocking, marks
from perdure.engine.scheduler.desk import Desk
from perdure.engine.scheduler.effects import perform
from perdure.engine.scheduler.leftovers import dismiss, is_open_here
from perdure.engine.scheduler.live import Item, LiveRun
from perdure.engine.scheduler.opening import (
    Ended,
    Opened,
    check_strikes,
    fresh,
    open_run,
    state_of,
    unstarted,
)
from perdure.engine.scheduler.pending import outcomes
from perdure.engine.scheduler.strikes import is_released
from perdure.engine.scheduler.turns import announce_start
from perdure.engine.starts import finish_start
from perdure.ports.addresses import Lane

LATE_START = 30 * SECOND
"""A start this long after its request counts only if STATE still names its run."""


_FOR_OTHERS = 30.0
_OFFER_AGAIN = 2 * SECOND


class Begun(Enum):
    """READY: the items are for ``desk.live``. AGAIN: collect anew. WAIT: something has to come."""

    READY = "ready"
    AGAIN = "again"
    WAIT = "wait"


async def begin(desk: Desk, items: list[Item]) -> Begun:
    """Bring in the run that ``items`` are for."""
    if items and not desk.must_load and await _begin_fresh(desk, items[0]):
        return Begun.READY
    await load(desk)
    if desk.live is not None:
        # What the load brought comes first.
        return Begun.AGAIN
    return await _without_run(desk, items)


async def load(desk: Desk) -> None:
    """Read the log, if only to see that there is nothing. Raises Blocked, HistoryGone."""
    opened = await open_run(desk.context, desk.address)
    desk.must_load = False
    match opened:
        case None:
            desk.tip = 0
        case Ended():
            await _end_again(desk, opened.history)
        case Opened():
            desk.live = opened.live
            desk.first = opened.first
            desk.tip = opened.live.tip
            if opened.redispatch is not None:
                await _redispatch(desk, opened.live, opened.redispatch)


async def bring_in(desk: Desk) -> None:
    """Load without a delivery; a start that was acknowledged while blocked is found in the log."""
    await load(desk)
    if desk.live is None:
        await _begin_unstarted(desk)


async def _begin_unstarted(desk: Desk) -> None:
    first = await unstarted(desk.context, desk.address)
    if first:
        entry = await state_of(desk.context, desk.address)
        await check_strikes(desk.context, entry, entry.run if entry is not None else "")
        live = await fresh(desk.context, desk.address, first[0], after=desk.tip)
        await marks.lift(desk.context, desk.address, live)
        desk.first = await unstarted(desk.context, desk.address)
        desk.live = live if desk.first else None


async def _begin_fresh(desk: Desk, item: Item) -> bool:
    """The fast path: a start on its first offer needs no look at the log, its commit is one."""
    started, delivery = item.event, item.delivery
    if not isinstance(started, WorkflowStarted) or delivery is None or delivery.attempt > 1:
        return False
    if item.timestamp - started.requested_at >= LATE_START or started.run == desk.ended:
        return False
    lain = (desk.context.backend.clock.now() - item.timestamp) / SECOND
    if item.seq <= desk.tip or lain > desk.context.first_record:
        return False
    desk.live = await fresh(desk.context, desk.address, item, after=desk.tip)
    return True


async def _redispatch(desk: Desk, live: LiveRun, turn: Turn) -> None:
    """Whoever loads a run repeats the newest record's effects, but for what has an outcome."""
    if live.has_one_turn:
        await announce_start(desk, live)
    ended = outcomes(desk, live)
    await perform(
        desk.context,
        desk.address,
        live,
        [command for command in turn.record.commands if getattr(command, "n", 0) not in ended],
        record_seq=turn.stored.seq,
        again=True,
    )


async def _end_again(desk: Desk, history: RunHistory) -> None:
    """A close that may have stopped half-way: its effects are repeated until STATE has it."""
    desk.tip = history.tip
    desk.ended = history.run
    seen = [seq for seq in desk.held if seq > history.tip]
    entry = await state_of(desk.context, desk.address)
    if entry is not None and entry.run == history.run:
        if entry.is_open:
            await blocking.end_from_log(desk.context, desk.address, history)
        desk.context.purger.later(desk.address, max([history.tip, *_of_run(desk, history, seen)]))
    named = history.named | set(history.closing.record.applied if history.closing else ())
    for seq, delivery in list(desk.held.items()):
        event = readable(delivery.message.data)
        of_run = event is not None and event.run == history.run
        is_old_start = seq < history.tip and isinstance(event, WorkflowStarted)
        if seq in named or of_run or is_old_start:
            desk.ack_seq(seq)


def _of_run(desk: Desk, history: RunHistory, seqs: list[int]) -> list[int]:
    found: list[int] = []
    for seq in seqs:
        delivery = desk.held.get(seq)
        event = readable(delivery.message.data) if delivery is not None else None
        if event is not None and event.run == history.run:
            found.append(seq)
    return found


async def _without_run(desk: Desk, items: list[Item]) -> Begun:
    """No run in the log takes these: a start that counts begins one, the rest has no addressee."""
    found = await desk.context.backend.state.read(desk.address.workflow_id)
    entry = decode_state(found[0]) if found is not None else None
    expected = entry.run if entry is not None and entry.is_open else ""
    for item in items:
        event = item.event
        if item.seq in desk.held and isinstance(event, WorkflowStarted) and event.run == expected:
            await check_strikes(desk.context, entry, expected)
            desk.live = await fresh(desk.context, desk.address, item, after=desk.tip)
            return Begun.READY
    if entry is None or found is None or not is_open_here(entry, desk.address):
        await dismiss(desk, items)
        return Begun.AGAIN
    if entry.blocked_build:
        # Its start was acknowledged by a build that has no code for it.
        await _begin_unstarted(desk)
        if desk.live is not None:
            return Begun.AGAIN
    # The id is reserved and signals came first: its start is on the way, or is finished here.
    await finish_start(desk.context.backend, entry, found[1])
    desk.ack([i for i in items if isinstance(i.event, WorkflowStarted) or i.lane is Lane.ENGINE])
    return Begun.WAIT


async def go_on_blocked(desk: Desk, items: list[Item]) -> None:
    """A blocked run goes on taking events; only a termination, or another run, moves the id."""
    entry = await state_of(desk.context, desk.address)
    if entry is None or not is_open_here(entry, desk.address):
        await dismiss(desk, items)
        return
    if entry.run != desk.blocked_run:
        desk.blocked, desk.must_load = "", True
        return
    if not entry.blocked:
        _leave_to_others(desk)
        return
    if is_released(entry, desk.blocked, desk.context.options.build):
        desk.blocked, desk.must_load = "", True
        return
    for item in items:
        event = item.event
        if not isinstance(event, WorkflowTerminateRequested) or event.run not in ("", entry.run):
            continue
        if await blocking.terminate(desk.context, desk.address, item):
            desk.blocked, desk.must_load = "", True
            return
    desk.ack(items)


def _leave_to_others(desk: Desk) -> None:
    """Another build goes on with the run: what came here is its. If it comes here again and again,
    this build has to say once more that it cannot."""
    now = asyncio.get_running_loop().time()
    desk.left |= {seq: now for seq in desk.held if seq not in desk.left}
    if any(now - desk.left[seq] > _FOR_OTHERS for seq in desk.held):
        desk.blocked, desk.left, desk.must_load = "", {}, True
        return
    for delivery in desk.held.values():
        delivery.nak(_OFFER_AGAIN)
    desk.held.clear()
