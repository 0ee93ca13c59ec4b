"""Answers about one workflow from whoever owns it: queries and what it waits for.

A query sees everything its asker knows of: it names the newest event it knows, and the owner looks
at the newest record first, so that neither a lagging nor a replaced owner answers from the past.
A closed workflow is replayed out of its log or the archive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from perdure.core.errors import NondeterminismError, PerdureError, WorkflowQueryFailedError
from perdure.core.events import NewerEvent, WorkflowStarted
from perdure.core.failures import to_failure
from perdure.core.ledger import OpenActivity
from perdure.core.machine import Instance
from perdure.core.payloads import Payload
from perdure.core.records import NewerRecord
from perdure.core.state import decode_state
from perdure.core.tasks import decode_task
from perdure.engine.history import (
    HistoryGone,
    RunHistory,
    decode_archive,
    load_history,
    readable,
)
from perdure.engine.payloads import blob_prefix
from perdure.engine.scheduler.context import Context
from perdure.engine.scheduler.lane import WorkflowLane
from perdure.engine.scheduler.live import LiveRun
from perdure.engine.scheduler.opening import Blocked, replayed
from perdure.ports.addresses import Address, TaskKey
from perdure.ports.errors import PortError, Unavailable

_PATIENCE = 5.0
_LOOK_AGAIN = 0.1
_SHOWN = 200
"""Pending activities that a description goes into."""


_REFUSALS = (
    PerdureError,
    PortError,
    Blocked,
    HistoryGone,
    NewerEvent,
    NewerRecord,
    msgspec.DecodeError,
)


class Question(msgspec.Struct):
    """``after`` is the newest sequence of the workflow that the asker knows."""

    workflow_id: str
    run: str = ""
    name: str = ""
    args: list[Payload] = []
    after: int = 0


class Clerk:
    """Answers for the lanes of one scheduler."""

    def __init__(self, context: Context, lane_of: Callable[[Address], WorkflowLane]) -> None:
        self._context = context
        self._lane_of = lane_of

    async def query(self, data: bytes) -> bytes:
        """``{"ok": true, "result"}`` or ``{"ok": false, "error": {"kind", "message"}}``."""
        try:
            question = msgspec.json.decode(data, type=Question)
            result = await self._query(question)
            return msgspec.json.encode({"ok": True, "result": result})
        except _REFUSALS as error:
            return msgspec.json.encode({"ok": False, "error": self._refusal(error)})

    async def describe(self, data: bytes) -> bytes:
        """What the open run waits for: ``{"ok": true, "activities", "timers", "history_length"}``."""
        try:
            question = msgspec.json.decode(data, type=Question)
            async with self._instance(question) as instance:
                waiting = await self._waiting(question, instance)
            return msgspec.json.encode({"ok": True, **waiting})
        except _REFUSALS as error:
            return msgspec.json.encode({"ok": False, "error": self._refusal(error)})

    def _refusal(self, error: BaseException) -> dict[str, Any]:
        match error:
            case WorkflowQueryFailedError():
                kind = "failed"
            case Blocked() | NewerEvent() | NewerRecord() | NondeterminismError():
                kind = "blocked"
            case PortError():
                kind = "unavailable"
            case _:
                kind = getattr(error, "code", "invalid")
        failure = to_failure(error, self._context.converter)
        return {"kind": kind, "message": failure.message, "failure": failure}

    async def _query(self, question: Question) -> Payload:
        async with self._instance(question) as instance:
            run, answer = instance.run, instance.query(question.name, question.args)
        prefix = blob_prefix(question.workflow_id, run, f"query-{question.name}")
        return await self._context.payloads.offload_one(answer, prefix)

    @asynccontextmanager
    async def _instance(self, question: Question) -> AsyncGenerator[Instance]:
        """The run asked about: the one in memory, or a closed one replayed for this question."""
        address = Address(self._context.options.task_queue, question.workflow_id)
        lane = self._lane_of(address)
        live = await self._current(lane, address, question)
        if live is not None:
            yield live.instance
            return
        if lane.blocked:
            raise Blocked(lane.blocked)
        closed = await self._closed(address, question.run)
        try:
            yield closed
        finally:
            closed.dispose()

    async def _current(
        self, lane: WorkflowLane, address: Address, question: Question
    ) -> LiveRun | None:
        """The run in memory with all that the asker knows of; None when the question is for another
        run, or there is none. Raises Unavailable when that takes too long: somebody else may know."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _PATIENCE
        while True:
            tip = await self._context.backend.log.tip(address)
            is_newest = lane.forget_the_past(0 if tip is None else tip.seq)
            if lane.live is None:
                await lane.bring_in()
            live = lane.live
            if live is None or question.run not in ("", live.run):
                return None
            if is_newest:
                knows = await self._knows(lane, live, question.after, ends - loop.time())
                if knows and lane.live is live:
                    return live
            if loop.time() >= ends:
                raise Unavailable("this owner has not heard yet of what its asker knows")
            await lane.change(max(0.0, min(ends - loop.time(), _LOOK_AGAIN)))

    async def _knows(self, lane: WorkflowLane, live: LiveRun, seq: int, patience: float) -> bool:
        if seq <= live.start_seq or seq in live.named:
            return True
        await lane.settled(seq, max(patience, 0.0))
        if seq in live.named:
            return True
        found = (await self._context.backend.log.read([seq]))[0]
        event = readable(found.data) if found is not None else None
        # What is gone, unreadable or for another run is of no concern to this one.
        return event is None or event.run not in ("", live.run)

    async def _closed(self, address: Address, run: str) -> Instance:
        history = await self._closed_history(address, run)
        if history is None or not isinstance(history.started.event, WorkflowStarted):
            raise WorkflowQueryFailedError(
                f"workflow {address.workflow_id!r} has no history any more to answer a query from"
            )
        if history.run in self._context.refused:
            raise WorkflowQueryFailedError(
                f"queries of workflow {address.workflow_id!r} are not answered: its code never "
                "returned, or ended its process, again and again"
            )
        history.turns, history.closing = history.all_turns, None
        live = await replayed(self._context, address, history, history.started.event)
        return live.instance

    async def _closed_history(self, address: Address, run: str) -> RunHistory | None:
        try:
            found = await load_history(self._context.backend, address, run=run)
        except HistoryGone:
            # It was purged meanwhile.
            found = None
        stored = await self._context.backend.state.read(address.workflow_id)
        entry = None if stored is None else decode_state(stored[0])
        if found is not None:
            if entry is not None and entry.is_open and entry.run == found.run:
                # Its newest record may be a close that does not stand.
                raise Unavailable("the run is open, and this owner could not load it")
            return found
        if not run:
            if entry is None:
                return None
            run = entry.run
        data = await self._context.backend.archive.get(address.workflow_id, run)
        if data is None:
            return None
        return decode_archive(await unwrapped(self._context, data))

    async def _waiting(self, question: Question, instance: Instance) -> dict[str, Any]:
        timers = instance.pending_timers()
        retries = {timer.of: timer.due for timer in timers if timer.purpose == "retry"}
        pending = instance.pending_activities()
        shown = pending[:_SHOWN]
        activities = await asyncio.gather(
            *(self._activity(question.workflow_id, instance.run, one, retries) for one in shown)
        )
        queues = {one.command.task_queue for one in pending}
        return {
            "run": instance.run,
            "activities": activities,
            "timers": [
                {"n": t.n, "due": t.due, "duration": t.duration, "purpose": t.purpose}
                for t in timers
            ],
            "history_length": instance.host.history_length,
            "unhandled_signals": instance.unhandled_signals,
            "workers": {queue: await self._workers(queue) for queue in sorted(queues)},
        }

    async def _activity(
        self, workflow_id: str, run: str, activity: OpenActivity, retries: dict[int, int]
    ) -> dict[str, Any]:
        """An activity's attempt stands in its task, or here while the core times its backoff."""
        command = activity.command
        attempt, failure = activity.attempt, activity.last_failure
        next_at = retries.get(command.n, 0)
        key = TaskKey(command.task_queue, workflow_id, run, command.n)
        current = await self._context.backend.tasks.current(key)
        if current is not None:
            task = decode_task(current.data)
            attempt, failure = task.attempt, task.last_failure
            due = current.timestamp + task.delay
            next_at = due if task.delay and due > self._context.backend.clock.now() else 0
        return {
            "n": command.n,
            "activity_id": command.activity_id,
            "activity_type": command.activity_type,
            "task_queue": command.task_queue,
            "attempt": attempt,
            "maximum_attempts": command.retry.maximum_attempts,
            "scheduled_at": command.scheduled_at,
            "next_attempt_at": next_at,
            "last_failure": failure,
            "cancel_requested": activity.cancel_requested,
        }

    async def _workers(self, queue: str) -> int:
        """How many activity workers live on ``queue``: none is why an activity waits."""
        return len(await self._context.backend.members.list(("worker", queue)))


async def unwrapped(context: Context, data: bytes) -> bytes:
    """An archived history, fetched from its blob when it was too large for one message."""
    if not data.startswith(b'{"blob":'):
        return data
    key = msgspec.json.decode(data, type=dict[str, str])["blob"]
    blob = await context.backend.blobs.get(key)
    if blob is None:
        raise WorkflowQueryFailedError(f"the archived history {key!r} is gone from the blob store")
    return blob
