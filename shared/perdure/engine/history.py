"""A run's history: read from the log by sequence, or out of the archive.

The newest record names its predecessors by sequence (its trail), records name their events: a load
is three or four waves of pipelined reads and never a search. Closing records that another record of
the run follows are void (rule 4) and are not part of the history.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from perdure.core.events import Event, NewerEvent, UnreadableEvent, WorkflowStarted, decode_event
from perdure.core.records import (
    TRAIL,
    NewerRecord,
    Record,
    decode_record,
    encode_record,
    next_trail,
)
from perdure.ports.addresses import Address, Stored
from perdure.ports.backend import Backend
from perdure.ports.blobs import BlobStore
from perdure.ports.log import EventLog


class AppliedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as a record applied it; ``event`` is None for bytes that are no event."""

    seq: int
    timestamp: int
    data: bytes
    event: Event | None


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One record and its events."""

    record: Record
    stored: Stored
    events: list[AppliedEvent]

    @property
    def size(self) -> int:
        """Bytes that it takes in the log."""
        return len(self.stored.data) + sum(len(event.data) for event in self.events)


@dataclass(slots=True)
class RunHistory:
    """The newest run of an id, or an archived one.

    ``tip`` is the sequence of the newest record, void or not; ``trail`` what the next record
    carries. ``cut`` is the sequence of the first of the closing records that end the log (0 when
    the newest record does not close).
    """

    run: str
    turns: list[Turn]
    tip: int
    k: int
    trail: list[int]
    cut: int = 0
    closing: Turn | None = None
    """The newest record when it closes the run; whether it is void, only the inbox tells."""
    named: set[int] = field(default_factory=set[int])

    @property
    def started(self) -> AppliedEvent:
        """The start event. It need not come first: after a void close, what had been accepted
        before is applied ahead of it."""
        events = self.all_turns[0].events
        for applied in events:
            if isinstance(applied.event, WorkflowStarted) and applied.event.run == self.run:
                return applied
        return events[0]

    @property
    def all_turns(self) -> list[Turn]:
        """The turns with the closing one."""
        return [*self.turns, self.closing] if self.closing is not None else self.turns


class HistoryGone(Exception):
    """Part of the log was purged while it was read: the run is closed and archived."""


async def load_history(backend: Backend, address: Address, *, run: str = "") -> RunHistory | None:
    """The newest run in the log of ``address``; None when there is none (or not ``run``).

    Raises NewerRecord or NewerEvent for what this build cannot read, HistoryGone after a purge.
    """
    tip = await backend.log.tip(address)
    if tip is None:
        return None
    newest = decode_record(tip.data)
    if run and newest.run != run:
        return None
    records = await _records(backend.log, tip, newest)
    whole = [(stored, await _whole(backend.blobs, record)) for stored, record in records]
    return await _assemble(backend.log, whole)


async def _whole(blobs: BlobStore, record: Record) -> Record:
    """The record with all its commands, also when they lie in a blob."""
    if not record.blob:
        return record
    data = await blobs.get(record.blob)
    if data is None:
        raise NewerRecord(f"the blob {record.blob!r} of record {record.k} is gone")
    return decode_record(data)


async def _records(log: EventLog, tip: Stored, newest: Record) -> list[tuple[Stored, Record]]:
    """All records of the newest run, oldest first."""
    found = [(tip, newest)]
    trail = newest.trail
    while trail:
        block: list[tuple[Stored, Record]] = []
        for stored in await log.read(trail):
            if stored is None:
                raise HistoryGone
            block.append((stored, decode_record(stored.data)))
        found = [*block, *found]
        first = block[0][1]
        trail = first.trail if first.k else []
    return found


async def _assemble(log: EventLog, records: list[tuple[Stored, Record]]) -> RunHistory:
    last_stored, last = records[-1]
    valid = [
        pair
        for position, pair in enumerate(records)
        if pair[1].close is None or position == len(records) - 1
    ]
    wanted = [seq for _, record in valid for seq in record.applied]
    messages = dict(zip(wanted, await log.read(wanted), strict=True))
    turns = [Turn(record, stored, _events(record.applied, messages)) for stored, record in valid]
    cut = 0
    for stored, record in reversed(records):
        if record.close is None:
            break
        cut = stored.seq
    closing = turns.pop() if last.close is not None else None
    return RunHistory(
        run=last.run,
        turns=turns,
        tip=last_stored.seq,
        k=last.k,
        trail=next_trail(last.trail, last.k, last_stored.seq),
        cut=cut,
        closing=closing,
        named={seq for turn in turns for seq in turn.record.applied},
    )


def _events(applied: Iterable[int], messages: dict[int, Stored | None]) -> list[AppliedEvent]:
    events: list[AppliedEvent] = []
    for seq in applied:
        stored = messages[seq]
        if stored is None:
            raise HistoryGone
        events.append(AppliedEvent(seq, stored.timestamp, stored.data, readable(stored.data)))
    return events


def readable(data: bytes) -> Event | None:
    """The event, or None for garbage. Raises NewerEvent."""
    try:
        return decode_event(data)
    except UnreadableEvent:
        return None


# The archive's form: one JSON object with everything that a replay needs.


class _ArchivedEvent(msgspec.Struct, array_like=True):
    seq: int
    timestamp: int
    event: msgspec.Raw
    text: str | None = None
    """Bytes that are no event, as hex; ``event`` is then null."""


class _ArchivedTurn(msgspec.Struct, array_like=True):
    seq: int
    timestamp: int
    record: msgspec.Raw
    events: list[_ArchivedEvent]


class _ArchivedRun(msgspec.Struct, omit_defaults=True):
    workflow_id: str
    task_queue: str
    namespace: str
    run: str
    turns: list[_ArchivedTurn]
    format: int = 1


_decoder = msgspec.json.Decoder(_ArchivedRun)
_encoder = msgspec.json.Encoder()
_NULL = msgspec.Raw(b"null")


def encode_archive(address: Address, namespace: str, run: str, turns: Iterable[Turn]) -> bytes:
    """A closed run as one message."""
    archived: list[_ArchivedTurn] = []
    for turn in turns:
        entries = [
            _ArchivedEvent(e.seq, e.timestamp, msgspec.Raw(e.data))
            if e.event is not None
            else _ArchivedEvent(e.seq, e.timestamp, _NULL, e.data.hex())
            for e in turn.events
        ]
        data = encode_record(turn.record) if turn.record.blob else turn.stored.data
        record = msgspec.Raw(data)
        archived.append(_ArchivedTurn(turn.stored.seq, turn.stored.timestamp, record, entries))
    return _encoder.encode(
        _ArchivedRun(address.workflow_id, address.queue, namespace, run, archived)
    )


@dataclass(frozen=True, slots=True)
class ArchivedRun:
    """A closed run out of the archive."""

    address: Address
    namespace: str
    history: RunHistory


def decode_archived_run(data: bytes) -> ArchivedRun:
    """Raises msgspec.DecodeError for what :func:`encode_archive` never wrote."""
    archived = _decoder.decode(data)
    turns: list[Turn] = []
    for item in archived.turns:
        stored = Stored(item.seq, item.timestamp, bytes(item.record))
        events = [
            AppliedEvent(e.seq, e.timestamp, raw := _raw(e), readable(raw)) for e in item.events
        ]
        turns.append(Turn(decode_record(stored.data), stored, events))
    last = turns[-1]
    closing = turns.pop() if last.record.close is not None else None
    history = RunHistory(
        run=archived.run,
        turns=turns,
        tip=last.stored.seq,
        k=last.record.k,
        trail=[],
        cut=last.stored.seq,
        closing=closing,
        named={e.seq for turn in turns for e in turn.events},
    )
    return ArchivedRun(
        Address(archived.task_queue, archived.workflow_id), archived.namespace, history
    )


def decode_archive(data: bytes) -> RunHistory:
    """The history alone."""
    return decode_archived_run(data).history


def _raw(entry: _ArchivedEvent) -> bytes:
    return bytes(entry.event) if entry.text is None else bytes.fromhex(entry.text)


__all__ = [
    "TRAIL",
    "AppliedEvent",
    "ArchivedRun",
    "HistoryGone",
    "NewerEvent",
    "RunHistory",
    "Turn",
    "WorkflowStarted",
    "decode_archive",
    "decode_archived_run",
    "encode_archive",
    "load_history",
    "readable",
]
