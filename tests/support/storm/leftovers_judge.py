"""Judging what is left when everything is closed and the grace is over: nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from support.storm.promises import Broken
from support.world import World

from perdure.core.errors import WorkflowNotFoundError
from perdure.engine.history import HistoryGone
from perdure.ports.addresses import Lane

_ROUNDS = 1_300


async def judge_leftovers(one: World, *, grace: float, forgotten: int) -> None:
    """Wait for the purge, and look. ``forgotten`` is how many timers may be left of schedulers that
    died between arming one for a run that was over and taking it back."""
    server = one.store._server
    await asyncio.sleep(grace)
    for _ in range(_ROUNDS):
        if not (await _left(one) or server.tasks._messages or len(server.timers) > forgotten):
            return
        await asyncio.sleep(grace / 4)
    left = await _left(one)
    if left:
        address, lane, stored = left[0]
        raise Broken(f"{len(left)} left in the log, first {lane} {stored}", address.workflow_id)
    for key in list(server.timers)[forgotten:]:
        raise Broken(f"a timer of a closed run is armed: {key}", key.address.workflow_id)
    for message in server.tasks.messages():
        raise Broken(f"a task of a closed run: {message}", message.subject.workflow_id)


async def _left(one: World) -> list[Any]:
    """What lies in the log, but for what nobody knows of any more when the scheduler that was to
    purge it died: what an id left on a queue that it is no longer on, and what came after its close."""
    left: list[Any] = []
    for message in one.store._server.log.messages():
        address, lane = message.subject
        entry = await one.entry(address.workflow_id)
        if entry is not None:
            came_late = lane is not Lane.HISTORY and message.stored.seq > entry.closed_seq
            if came_late or entry.task_queue != address.queue:
                continue
        left.append((address, lane.value, message.stored))
    return left


async def stuck(one: World, ids: list[str]) -> Broken:
    """The error that names what never ended, and how far it came."""
    lines = ["it never ended"]
    first = ""
    for workflow_id in ids:
        entry = await one.entry(workflow_id)
        if entry is None or not entry.is_open:
            continue
        first = first or workflow_id
        lines.append(f"  {entry}")
        try:
            history = await one.history(workflow_id, entry.task_queue)
        except (AssertionError, WorkflowNotFoundError, HistoryGone):
            continue
        lines += [
            f"    k={turn.record.k} #{turn.stored.seq} applied={turn.record.applied} "
            f"events={[type(e.event).__name__ for e in turn.events]} "
            f"commands={[type(c).__name__ for c in turn.record.commands]}"
            for turn in history.all_turns
        ]
    return Broken("\n".join(lines), first)


__all__ = ["judge_leftovers", "stuck"]
