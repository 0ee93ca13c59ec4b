"""Runs whose code costs processes: counted in STATE, and quarantined at the third time.

A turn that never returns, or that takes its process along, is seen from outside. Whoever runs in the
place of that process records the strike before it serves. Strikes count for one build: another one
begins with none. A quarantined run is a blocked one (see :mod:`.blocking`): its events go on being
acknowledged, and it goes on when another build comes or an operator releases it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perdure.core.durations import MINUTE
from perdure.core.records import NewerRecord, decode_record
from perdure.core.state import StateEntry, Strike, decode_state, encode_state
from perdure.engine.scheduler.context import logger
from perdure.ports.addresses import Address
from perdure.ports.backend import Backend
from perdure.ports.errors import Conflict

LIMIT = 3
"""Strikes at which a run is quarantined."""
FADES = 10 * MINUTE
"""A strike this old is forgotten once the run has made progress since. (Progress alone says little:
a run may take one signal after the other while the event that its code chokes on comes again.)"""
STACK_LIMIT = 4_096
"""Characters of a stack that STATE keeps."""

_UNNAMED = "?"
_QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What was seen from outside: whose code ran when a process was given up, and why."""

    workflow_id: str
    run: str
    at: int
    reason: str
    stack: str = ""


def strikes_of(entry: StateEntry, run: str, build: str) -> int:
    """How many processes of ``build`` the code of ``run`` has cost. At the limit it must not run any
    more."""
    if not entry.strikes or entry.run != run or not entry.is_open:
        return 0
    return sum(strike.build == (build or _UNNAMED) for strike in entry.strikes)


def quarantine_reason(entry: StateEntry) -> str:
    """What ``blocked`` says of a quarantined run."""
    return (
        f"{_QUARANTINED} after {LIMIT} strikes: {entry.strikes[-1].reason}. The run is stopped for this "
        "build, nothing is lost: deploy code that ends its turns (another build goes on with it), or "
        f"let this build try again with `perdure release {entry.workflow_id}`"
    )


def is_released(entry: StateEntry, blocked: str, build: str) -> bool:
    """Whether a run that ``build`` knows as ``blocked`` was quarantined, and is no more."""
    return blocked.startswith(_QUARANTINED) and strikes_of(entry, entry.run, build) < LIMIT


async def record(backend: Backend, struck: Struck, *, build: str) -> StateEntry | None:
    """Add a strike to the run's entry, and quarantine it at the last one; repeatable. The entry now,
    or None when the run is over."""
    while True:
        found = await backend.state.read(struck.workflow_id)
        entry = decode_state(found[0]) if found is not None else None
        if found is None or entry is None or entry.run != struck.run or not entry.is_open:
            return None
        if any(strike.at == struck.at for strike in entry.strikes):
            return entry
        amended = _struck(entry, struck, build or _UNNAMED, await _newest_record(backend, entry))
        try:
            await backend.state.update(struck.workflow_id, encode_state(amended), revision=found[1])
        except Conflict:
            continue
        _tell(amended)
        return amended


def _struck(entry: StateEntry, struck: Struck, build: str, k: int) -> StateEntry:
    strike = Strike(
        at=struck.at, reason=struck.reason, build=build, k=k, stack=struck.stack[:STACK_LIMIT]
    )
    strikes = [msgspec.structs.replace(old, stack="") for old in _counting(entry, strike)]
    amended = msgspec.structs.replace(entry, strikes=[*strikes, strike][-LIMIT:])
    if strikes_of(amended, entry.run, build) < LIMIT:
        return amended
    reason = quarantine_reason(amended)
    return msgspec.structs.replace(amended, blocked=reason, blocked_build=build)


def _counting(entry: StateEntry, new: Strike) -> list[Strike]:
    """The strikes so far that count beside a new one."""
    if not entry.strikes or entry.strikes[-1].build != new.build:
        return []
    last = entry.strikes[-1]
    faded = new.k > last.k and new.at - last.at > FADES
    return [] if faded else entry.strikes


async def _newest_record(backend: Backend, entry: StateEntry) -> int:
    tip = await backend.log.tip(Address(entry.task_queue, entry.workflow_id))
    if tip is None:
        return -1
    try:
        newest = decode_record(tip.data)
    except NewerRecord:
        return -1
    return newest.k if newest.run == entry.run else -1


def _tell(entry: StateEntry) -> None:
    strike = entry.strikes[-1]
    logger.error(
        "workflow %r: strike %d of %d: %s\n%s",
        entry.workflow_id,
        len(entry.strikes),
        LIMIT,
        strike.reason,
        strike.stack or "(no stack)",
    )


async def release(backend: Backend, workflow_id: str) -> StateEntry | None:
    """Forget the strikes of the open run, so that every build may try it again. The entry now; None
    when there is no open run. Whoever loads the run next takes the mark of the quarantine away."""
    while True:
        found = await backend.state.read(workflow_id)
        entry = decode_state(found[0]) if found is not None else None
        if found is None or entry is None or not entry.is_open:
            return None
        if not entry.strikes:
            return entry
        amended = msgspec.structs.replace(entry, strikes=[])
        try:
            await backend.state.update(workflow_id, encode_state(amended), revision=found[1])
        except Conflict:
            continue
        return amended
