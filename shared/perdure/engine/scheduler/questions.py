"""Answers about one workflow from whoever owns it: queries and what it waits for.

A query sees everything its asker knows of: it names the newest event it knows, and the owner looks
at the newest record first, so that neither a lagging nor a replaced owner answers from the past.
A closed workflow is replayed out of its log or the archive.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.errors import NondeterminismError, PerdureError, WorkflowQueryFailedError
from perdure.core.events import NewerEvent, WorkflowStarted
from perdure.core.failures import to_failure
from perdure.core.machine import Instance
from perdure.core.payloads import Payload
from perdure.core.records import NewerRecord
from perdure.core.state import decode_state
from perdure.engine.history import RunHistory, decode_archive, load_history
from perdure.engine.payloads import blob_prefix
from perdure.engine.scheduler.context import Context
from perdure.engine.scheduler.lane import WorkflowLane
from perdure.engine.scheduler.opening import Blocked, replayed
from perdure.ports.addresses import Address
from perdure.ports.errors import PortError

_PATIENCE = 5.0


class Question(msgspec.Struct):
    """``after`` is the newest sequence of the workflow that the asker knows."""

    workflow_id: str
    run: str = ""
    name: str = ""
    args: list[Payload] = []
    after: int = 0


class Clerk:
    """Answers for the lanes of one scheduler."""

    def __init__(self, context: Context, lane_of: Any) -> None:
        self._context = context
        self._lane_of = lane_of

    async def query(self, data: bytes) -> bytes:
        """``{"ok": true, "result"}`` or ``{"ok": false, "error": {"kind", "message"}}``."""
        try:
            question = msgspec.json.decode(data, type=Question)
            result = await self._query(question)
            return msgspec.json.encode({"ok": True, "result": result})
        except (
            PerdureError,
            PortError,
            Blocked,
            NewerEvent,
            NewerRecord,
            msgspec.DecodeError,
        ) as error:
            return msgspec.json.encode({"ok": False, "error": self._refusal(error)})

    async def describe(self, data: bytes) -> bytes:
        """What the open run waits for: ``{"ok": true, "activities", "timers", "history_length"}``."""
        try:
            question = msgspec.json.decode(data, type=Question)
            live = await self._instance(question)
            return msgspec.json.encode({"ok": True, **await self._waiting(question, live)})
        except (
            PerdureError,
            PortError,
            Blocked,
            NewerEvent,
            NewerRecord,
            msgspec.DecodeError,
        ) as error:
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
        instance = await self._instance(question)
        answer = instance.query(question.name, question.args)
        prefix = blob_prefix(question.workflow_id, instance.run, f"query-{question.name}")
        return await self._context.payloads.offload_one(answer, prefix)

    async def _instance(self, question: Question) -> Instance:
        address = Address(self._context.options.task_queue, question.workflow_id)
        lane: WorkflowLane = self._lane_of(address)
        live = await self._current(lane, address)
        if live is not None and question.run in ("", live.run):
            if question.after > live.tip and question.after not in live.named:
                await lane.settled(question.after, _PATIENCE)
            if lane.live:
                return lane.live.instance
        if lane.blocked:
            raise Blocked(lane.blocked)
        return await self._closed(address, question.run)

    async def _current(self, lane: WorkflowLane, address: Address) -> Any:
        if lane.live is not None:
            tip = await self._context.backend.log.tip(address)
            if (
                lane.live is not None
                and tip is not None
                and tip.seq > lane.live.tip
                and lane.is_idle
            ):
                # Somebody else decided meanwhile: what is in memory is the past.
                lane.drop()
        if lane.live is None:
            await lane.bring_in()
        return lane.live

    async def _closed(self, address: Address, run: str) -> Instance:
        history = await self._closed_history(address, run)
        if history is None or not isinstance(history.started.event, WorkflowStarted):
            raise WorkflowQueryFailedError(
                f"workflow {address.workflow_id!r} has no history any more to answer a query from"
            )
        history.turns, history.closing = history.all_turns, None
        live = await replayed(self._context, address, history, history.started.event)
        return live.instance

    async def _closed_history(self, address: Address, run: str) -> RunHistory | None:
        found = await load_history(self._context.backend.log, address, run=run)
        if found is not None:
            return found
        if not run:
            entry = await self._context.backend.state.read(address.workflow_id)
            if entry is None:
                return None
            run = decode_state(entry[0]).run
        data = await self._context.backend.archive.get(address.workflow_id, run)
        if data is None:
            return None
        return decode_archive(await unwrapped(self._context, data))

    async def _waiting(self, question: Question, instance: Instance) -> dict[str, Any]:
        activities = [
            {
                "n": open_one.command.n,
                "activity_id": open_one.command.activity_id,
                "activity_type": open_one.command.activity_type,
                "task_queue": open_one.command.task_queue,
                "attempt": open_one.attempt,
                "maximum_attempts": open_one.command.retry.maximum_attempts,
                "scheduled_at": open_one.command.scheduled_at,
                "last_failure": open_one.last_failure,
                "cancel_requested": open_one.cancel_requested,
            }
            for open_one in instance.pending_activities()
        ]
        timers = [
            {"n": t.n, "due": t.due, "duration": t.duration, "purpose": t.purpose}
            for t in instance.pending_timers()
        ]
        return {
            "run": instance.run,
            "activities": activities,
            "timers": timers,
            "history_length": instance.host.history_length,
            "unhandled_signals": instance.unhandled_signals,
        }


async def unwrapped(context: Context, data: bytes) -> bytes:
    """An archived history, fetched from its blob when it was too large for one message."""
    if not data.startswith(b'{"blob":'):
        return data
    key = msgspec.json.decode(data, type=dict[str, str])["blob"]
    blob = await context.backend.blobs.get(key)
    if blob is None:
        raise WorkflowQueryFailedError(f"the archived history {key!r} is gone from the blob store")
    return blob
