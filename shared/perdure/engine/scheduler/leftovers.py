"""What a closed run left in the log of its id.

Nothing of a run that is over is read again, but what lies there costs space for ever, and half a
history stands in the way of the next run. Every bound is a sequence seen before a look at STATE that
said: nothing is open here. A run that begins later lies above it.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.core.durations import SECOND
from perdure.core.records import NewerRecord, decode_record
from perdure.core.state import StateEntry
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.desk import Desk
from perdure.engine.scheduler.live import Item
from perdure.engine.scheduler.opening import state_of
from perdure.ports.addresses import Address, Lane


def is_open_here(entry: StateEntry | None, address: Address) -> bool:
    """Whether ``entry``'s run is open and lives in the log of ``address``."""
    return entry is not None and entry.is_open and entry.task_queue == address.queue


async def purge_leftover(context: Context, address: Address) -> None:
    """Finish the purge of a run that is over; without effect on one that is open."""
    tip = await context.backend.log.tip(address)
    if tip is None:
        return
    try:
        run = decode_record(tip.data).run
    except NewerRecord:
        return
    entry = await state_of(context, address)
    if is_open_here(entry, address) and entry is not None and entry.run == run:
        logger.error("workflow %r: part of the open run's history is gone", address.workflow_id)
        return
    await context.backend.log.purge(address, tip.seq)


async def dismiss(desk: Desk, items: Sequence[Item]) -> None:
    """Let go of what came for an id that, as STATE says, has no open run here."""
    known = keep_young(desk, items)
    if known:
        await _let_go(desk.context, desk.address, max(item.seq for item in known))
        desk.ack(known)


def keep_young(desk: Desk, items: Sequence[Item]) -> list[Item]:
    """Hand back what may be too young for the answer that would be decided by; the others."""
    backend = desk.context.backend
    if not backend.unsure:
        return list(items)
    sure = backend.clock.now() - backend.unsure
    first = min((item.seq for item in items if item.timestamp > sure), default=0)
    if not first:
        return list(items)
    for item in items:
        if item.seq >= first:
            desk.hand_back(item.seq, max(item.timestamp - sure, SECOND))
    return [item for item in items if item.seq < first]


async def _let_go(context: Context, address: Address, through: int) -> None:
    """Strays, before they are acknowledged: nobody else would ever take them out of the log."""
    if await context.backend.log.tip(address) is None:
        await context.backend.log.purge(address, through)
    else:
        context.purger.later(address, through)


async def last_of(context: Context, address: Address, after: int) -> int:
    """The newest sequence that lies in the id's inbox above ``after``, or ``after``; without what may
    be younger than what STATE says."""
    sure = context.backend.clock.now() - context.backend.unsure
    newest = after
    for lane in (Lane.EXTERNAL, Lane.ENGINE):
        while page := await context.backend.log.following(address, lane, newest):
            old = [stored.seq for stored in page if stored.timestamp <= sure]
            newest = max([newest, *old])
            if len(old) < len(page):
                break
    return newest
