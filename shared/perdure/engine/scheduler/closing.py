"""Ending a run: mark and drain, then the effects of the close, STATE last (rules 4, 6, 10).

The closing record's sequence is the cut. Before any effect of it the outsiders' lane is read up to
the cut: an event there that no record names makes the record void. Once STATE says closed, every
effect of the close is proven, and the end is reported from STATE alone.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

import msgspec

from perdure.core.commands import (
    CancelActivity,
    CancelTimer,
    CancelWorkflow,
    Close,
    Command,
    CompleteWorkflow,
    FailWorkflow,
    RejectSignal,
    ScheduleActivity,
    StartTimer,
    TerminateWorkflow,
)
from perdure.core.durations import to_datetime
from perdure.core.events import WorkflowStarted
from perdure.core.failures import Failure
from perdure.core.payloads import Payload
from perdure.core.records import Record
from perdure.core.state import StateEntry, Status, decode_state, encode_state
from perdure.engine.history import Turn, encode_archive, readable
from perdure.engine.payloads import INLINE_LIMIT, blob_prefix
from perdure.engine.scheduler.context import Context
from perdure.engine.scheduler.effects import in_turn, take_back
from perdure.engine.scheduler.live import LATE_RANK, Item, is_forged
from perdure.ports.addresses import Address, Lane
from perdure.ports.errors import AlreadyExists, Conflict

_encoder = msgspec.json.Encoder()
_PAGE = 256


async def late_events(
    context: Context,
    address: Address,
    *,
    closing: Record,
    start_seq: int,
    cut: int,
    named: Iterable[int],
) -> list[Item]:
    """Events of outsiders up to the cut that no record names, oldest first: what makes ``closing``
    void. A termination drops what is pending."""
    if isinstance(closing.close, TerminateWorkflow):
        return []
    known = set(named)
    late: list[Item] = []
    after = start_seq
    while True:
        page = await context.backend.log.following(address, Lane.EXTERNAL, after, _PAGE)
        for stored in page:
            if stored.seq > cut:
                return late
            if stored.seq in known:
                continue
            event = readable(stored.data)
            if isinstance(event, WorkflowStarted) or is_forged(event, Lane.EXTERNAL):
                continue
            if event is not None and event.run not in ("", closing.run):
                continue
            late.append(
                Item(
                    stored.seq, stored.timestamp, stored.data, event, Lane.EXTERNAL, rank=LATE_RANK
                )
            )
        if len(page) < _PAGE:
            return late
        after = page[-1].seq


def status_of(close: Close) -> Status:
    match close:
        case CompleteWorkflow():
            return Status.COMPLETED
        case FailWorkflow():
            timed_out = close.failure.kind == "timeout" and not close.failure.timeout
            return Status.TIMED_OUT if timed_out else Status.FAILED
        case CancelWorkflow():
            return Status.CANCELED
        case TerminateWorkflow():
            return Status.TERMINATED


async def end(
    context: Context,
    address: Address,
    *,
    started: WorkflowStarted,
    started_at: int,
    closing: Turn,
    turns: list[Turn],
    revision: int = 0,
) -> None:
    """Perform the effects of the close; repeatable, and in no need of the workflow's code. Returns
    when STATE says closed. ``turns`` are those before ``closing``, ``revision`` is STATE's, where it
    is known."""
    close = closing.record.close
    assert close is not None
    record_seq = closing.stored.seq
    at = max(context.backend.clock.now(), started_at)
    open_one = open_entry(address, started, started_at, k=closing.record.k)
    entry = _closed_entry(open_one, close, at=at, seq=record_seq)
    length = sum(len(turn.events) + len(turn.record.commands) for turn in [*turns, closing])
    entry = msgspec.structs.replace(entry, history_length=length)
    queues = {
        command.n: command.task_queue
        for turn in turns
        for command in turn.record.commands
        if isinstance(command, ScheduleActivity)
    }
    taken_back = _taken_back(closing.record.commands)
    # A termination that needed no code proves nothing of the record before it.
    is_first = len(turns) <= isinstance(close, TerminateWorkflow)
    announced = _announcements(context, address, entry, is_first=is_first)
    retracted = take_back(context, address, started.run, taken_back, queues=queues)
    archived = _archive(context, address, started.run, [*turns, closing])
    await in_turn([retracted, archived, *announced])
    await write_forward(context, entry, revision=revision, ttl=context.options.retention)
    context.purger.later(address, record_seq)
    context.observer.closed(entry.workflow_type, entry.status.value)


def _taken_back(commands: list[Command]) -> list[Command]:
    """What the close takes back, without what the closing record itself would only have begun."""
    begun = {c.n for c in commands if isinstance(c, ScheduleActivity | StartTimer)}
    return [
        c
        for c in commands
        if isinstance(c, RejectSignal)
        or (isinstance(c, CancelActivity | CancelTimer) and c.n not in begun)
    ]


def _closed_entry(entry: StateEntry, close: Close, *, at: int, seq: int) -> StateEntry:
    result: Payload | None = None
    failure: Failure | None = None
    if isinstance(close, CompleteWorkflow):
        result = close.result
    else:
        failure = close.failure
    return msgspec.structs.replace(
        entry,
        status=status_of(close),
        closed_at=at,
        closed_seq=seq,
        result=result,
        failure=failure,
    )


def open_entry(
    address: Address, started: WorkflowStarted, started_at: int, *, k: int
) -> StateEntry:
    """The STATE entry of a run that is under way."""
    return StateEntry(
        workflow_id=address.workflow_id,
        run=started.run,
        workflow_type=started.workflow_type,
        task_queue=address.queue,
        request_id=started.request_id,
        started_at=started_at,
        k=k,
        memo=started.memo,
        search_attributes=started.search_attributes,
        execution_timeout=started.execution_timeout,
        first_run=started.first_run,
    )


async def write_forward(context: Context, entry: StateEntry, *, revision: int, ttl: int = 0) -> int:
    """Move STATE forward to ``entry``; the revision now. An entry of a later run, or of the same
    run and a later record, stays (STATE only moves forward)."""
    state = context.backend.state
    data = await _state_bytes(context, entry)
    while True:
        if revision:
            try:
                return await state.update(entry.workflow_id, data, revision=revision, ttl=ttl)
            except Conflict:
                revision = 0
        found = await state.read(entry.workflow_id)
        if found is None:
            # A reservation that an operator deleted: the log is the truth, STATE is made from it.
            try:
                revision = await state.create(entry.workflow_id, data)
            except AlreadyExists:
                continue
            if not ttl:
                return revision
            continue
        current, revision = decode_state(found[0]), found[1]
        if current.run != entry.run or not current.is_open or current.k > entry.k:
            return revision
        if entry.is_open and (current.blocked_build or current.strikes):
            # A build that cannot go on acknowledges events by this mark: only a record ends it.
            marked = msgspec.structs.replace(
                entry,
                blocked=current.blocked,
                blocked_build=current.blocked_build,
                strikes=current.strikes,
            )
            data = await _state_bytes(context, marked)


async def _state_bytes(context: Context, entry: StateEntry) -> bytes:
    data = encode_state(entry)
    if len(data) <= INLINE_LIMIT:
        return data
    prefix = blob_prefix(entry.workflow_id, entry.run, f"state-{entry.k}")
    return encode_state(await context.payloads.offload_struct(entry, prefix))


async def _archive(context: Context, address: Address, run: str, turns: list[Turn]) -> None:
    data = encode_archive(address, context.backend.namespace, run, turns)
    if len(data) > context.backend.max_message:
        key = f"{blob_prefix(address.workflow_id, run, 'history')}"
        await context.backend.blobs.put(key, data)
        data = _encoder.encode({"blob": key})
    await context.backend.archive.put(address.workflow_id, run, data)


def _announcements(
    context: Context, address: Address, entry: StateEntry, *, is_first: bool
) -> list[Coroutine[Any, Any, None]]:
    announced: list[Coroutine[Any, Any, None]] = []
    if is_first:
        # No record before the close told of the start.
        announced.append(
            announce_start(
                context,
                address,
                run=entry.run,
                workflow_type=entry.workflow_type,
                started_at=entry.started_at,
            )
        )
    announced.append(_announce_close(context, address, entry))
    return announced


def _announce_close(
    context: Context, address: Address, entry: StateEntry
) -> Coroutine[Any, Any, None]:
    body: dict[str, Any] = {
        "event": "closed",
        "id": entry.workflow_id,
        "run_id": entry.run,
        "type": entry.workflow_type,
        "task_queue": address.queue,
        "status": entry.status.value,
        "closed_at": to_datetime(entry.closed_at).isoformat(),
    }
    if entry.result is not None and len(entry.result) <= INLINE_LIMIT:
        body["result"] = entry.result
    if entry.failure is not None:
        failure = entry.failure
        body["failure"] = {"message": failure.message, "kind": failure.kind, "type": failure.type}
    return context.backend.announcements.announce(
        entry.workflow_type, entry.workflow_id, _encoder.encode(body), dedup=f"{entry.run}:closed"
    )


def announce_start(
    context: Context, address: Address, *, run: str, workflow_type: str, started_at: int
) -> Coroutine[Any, Any, None]:
    """Tell everyone that a run began."""
    body = {
        "event": "started",
        "id": address.workflow_id,
        "run_id": run,
        "type": workflow_type,
        "task_queue": address.queue,
        "status": Status.RUNNING.value,
        "started_at": to_datetime(started_at).isoformat(),
    }
    return context.backend.announcements.announce(
        workflow_type, address.workflow_id, _encoder.encode(body), dedup=f"{run}:started"
    )
