"""What a closed run left in the log of its id.

Nothing of a run that is over is read again, but what lies there costs space for ever, and half a
history stands in the way of the next run. Every bound is a sequence seen before a look at STATE that
said: nothing is open here. A run that begins later lies above it.
"""

from __future__ import annotations

from collections.abc import Iterable

from perdure.core.records import NewerRecord, decode_record
from perdure.core.state import StateEntry
from perdure.engine.scheduler.context import Context, logger
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


async def let_go(context: Context, address: Address, seqs: Iterable[int]) -> None:
    """Strays of an id with no open run here, before they are acknowledged: nobody else would ever
    take them out of the log."""
    through = max(seqs, default=0)
    if not through:
        return
    if await context.backend.log.tip(address) is None:
        await context.backend.log.purge(address, through)
    else:
        context.purger.later(address, through)


async def last_of(context: Context, address: Address, after: int) -> int:
    """The newest sequence that lies in the id's inbox above ``after``, or ``after``."""
    newest = after
    for lane in (Lane.EXTERNAL, Lane.ENGINE):
        while page := await context.backend.log.following(address, lane, newest):
            newest = page[-1].seq
    return newest
