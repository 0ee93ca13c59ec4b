"""The mark of a blocked run in STATE: taken in two steps.

While STATE says blocked, events are acknowledged that no record names. Whoever goes on with the run
first takes the word away, so that nobody relies on it any more, and then looks for such events; the
build's name stays until a record has named them, and tells the next one to look again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.state import StateEntry, decode_state, encode_state
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.live import LiveRun
from perdure.ports.addresses import Address
from perdure.ports.errors import Conflict


def is_marked(entry: StateEntry | None, run: str) -> bool:
    """Whether events of ``run`` may lie in the log which no record names."""
    return (
        entry is not None
        and entry.run == run
        and entry.is_open
        and bool(entry.blocked or entry.blocked_build)
    )


async def lift(context: Context, address: Address, live: LiveRun) -> None:
    """From now on nobody acknowledges events of the run because of the mark."""
    if await _change(context, address, live, blocked=""):
        logger.info("workflow %r goes on", address.workflow_id)
    live.was_blocked = True


async def forget(context: Context, address: Address, live: LiveRun) -> None:
    """Every event that was acknowledged because of the mark is named. One that another build set
    meanwhile stays."""
    await _change(context, address, live, only_lifted=True, blocked_build="")
    live.was_blocked = False


async def _change(
    context: Context,
    address: Address,
    live: LiveRun,
    *,
    only_lifted: bool = False,
    **changes: Any,
) -> bool:
    state = context.backend.state
    while True:
        found = await state.read(address.workflow_id)
        entry = decode_state(found[0]) if found is not None else None
        if found is None or entry is None or not is_marked(entry, live.run):
            return False
        if bool(entry.blocked) is only_lifted:
            return False
        data = encode_state(msgspec.structs.replace(entry, **changes))
        try:
            live.revision = await state.update(address.workflow_id, data, revision=found[1])
        except Conflict:
            continue
        return True
