"""A run's history for those who look at it: out of the log, or out of the archive."""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from perdure.core.commands import CLOSES, CompleteWorkflow
from perdure.core.durations import to_datetime
from perdure.core.events import WorkflowStarted
from perdure.core.state import StateEntry
from perdure.engine.history import (
    HistoryGone,
    RunHistory,
    Turn,
    decode_archive,
    decode_archived_run,
    load_history,
)
from perdure.engine.scheduler.closing import open_entry, status_of
from perdure.ports.addresses import Address
from perdure.ports.backend import Backend

_BLOB_MARK = b'{"blob":'


class _Elsewhere(msgspec.Struct):
    """An archived history too large for one message: where it lies."""

    blob: str


@dataclass(frozen=True, kw_only=True)
class WorkflowHistory:
    """What happened to one run: the events that its code saw, each followed by what it decided."""

    workflow_id: str
    run_id: str
    turns: list[Turn]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events and commands in the order lived, as plain values.

        Each has ``event_id``, ``kind`` (``event`` or ``command``), ``type``, ``time`` and what its
        type holds.
        """
        found: list[dict[str, Any]] = []
        for turn in self.turns:
            for applied in turn.events:
                content = _plain(applied.data) if applied.event is not None else {"type": "garbage"}
                found.append(_row(found, "event", content, applied.timestamp, applied.seq))
            for command in turn.record.commands:
                content = msgspec.json.decode(msgspec.json.encode(command))
                row = _row(found, "command", content, turn.stored.timestamp, turn.stored.seq)
                found.append(row | {"closes": True} if isinstance(command, CLOSES) else row)
        return found

    def to_json_dict(self) -> dict[str, Any]:
        return {
            "workflow_id": self.workflow_id,
            "run_id": self.run_id,
            "format": 1,
            "events": self.events,
        }

    def to_json(self) -> str:
        """The history as JSON text."""
        return json.dumps(self.to_json_dict(), ensure_ascii=False)


async def find_history(
    backend: Backend, workflow_id: str, *, run: str, entry: StateEntry | None
) -> RunHistory | None:
    """The history of ``run``, or of the id's newest run when it is empty."""
    wanted = run or (entry.run if entry is not None else "")
    if entry is not None and entry.run == wanted:
        address = Address(entry.task_queue, workflow_id)
        try:
            found = await load_history(backend, address, run=wanted)
        except HistoryGone:
            found = None  # Purged while it was read: the archive has it.
        if found is not None:
            return found
    if not wanted:
        runs = await backend.archive.runs(workflow_id)
        if not runs:
            return None
        wanted = runs[-1]
    data = await backend.archive.get(workflow_id, wanted)
    return None if data is None else decode_archive(await _whole(backend, data))


async def archived_entry(backend: Backend, workflow_id: str, run: str) -> StateEntry | None:
    """What STATE said of a closed run before the id was used again or the entry expired."""
    data = await backend.archive.get(workflow_id, run)
    if data is None:
        return None
    archived = decode_archived_run(await _whole(backend, data))
    history = archived.history
    close = history.closing.record.close if history.closing is not None else None
    started = history.started
    if close is None or history.closing is None or not isinstance(started.event, WorkflowStarted):
        return None
    entry = open_entry(
        archived.address, started.event, started.timestamp, k=history.closing.record.k
    )
    return msgspec.structs.replace(
        entry,
        status=status_of(close),
        closed_at=history.closing.stored.timestamp,
        closed_seq=history.closing.stored.seq,
        result=close.result if isinstance(close, CompleteWorkflow) else None,
        failure=None if isinstance(close, CompleteWorkflow) else close.failure,
    )


async def _whole(backend: Backend, data: bytes) -> bytes:
    if not data.startswith(_BLOB_MARK):
        return data
    blob = await backend.blobs.get(msgspec.json.decode(data, type=_Elsewhere).blob)
    return data if blob is None else blob


def _row(
    before: list[dict[str, Any]], kind: str, content: dict[str, Any], timestamp: int, seq: int
) -> dict[str, Any]:
    return {
        "event_id": len(before) + 1,
        "kind": kind,
        "type": content.pop("type"),
        "time": to_datetime(timestamp).isoformat(),
        "sequence": seq,
        **content,
    }


def _plain(data: bytes) -> dict[str, Any]:
    return msgspec.json.decode(data)
