"""The history: one record per turn, on a workflow's own literal ``.hist`` subject.

A record names the events that it applied, by stream sequence and in the order applied, and holds
the commands decided. ``.hist`` decides the order of a workflow's life; the inbox only proposes.

``trail`` links records by sequence, so that a load never searches: record ``k`` lists the
sequences of the run's records from the last multiple of 64 below ``k`` up to ``k - 1``. The newest
record thus leads to all others in ``k / 64`` hops.

A closing record that is followed by another record of its run is void: an event had been accepted
before it (rule 4 of the log). Its events count as not named.
"""

from typing import Final

import msgspec

from perdure.core.commands import CLOSES, Close, Command

RECORD_FORMAT: Final = 1
TRAIL: Final = 64
JOINED: Final = 1
"""Flag: the record's outsiders' events were applied first and as one step. Set by the turn after a
void close: whatever was accepted before the close is seen by the code before it can end again."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    run: str
    k: int
    applied: list[int]
    commands: list[Command] = []
    trail: list[int] = []
    after: int = 0
    """In a run's first record: the sequence of the id's record before it. Outsiders' events up to
    there were for an earlier run."""
    build: str = ""
    flags: int = 0
    blob: str = ""
    """Where the whole record lies when it is too large for one message; of its commands this one
    then holds the close alone."""
    format: int = RECORD_FORMAT

    @property
    def joined(self) -> bool:
        return bool(self.flags & JOINED)

    @property
    def close(self) -> Close | None:
        """The command that ends the run, always the last one of its record."""
        last = self.commands[-1] if self.commands else None
        return last if isinstance(last, CLOSES) else None


def next_trail(trail: list[int], k: int, seq: int) -> list[int]:
    """The trail of record ``k + 1``, from that of record ``k`` and its own sequence."""
    return [seq] if k % TRAIL == 0 else [*trail, seq]


class NewerRecord(ValueError):
    """A record of a newer build: the run blocks until that build reads it."""


_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


def encode_record(record: Record) -> bytes:
    return _encoder.encode(record)


def decode_record(data: bytes) -> Record:
    """Raises NewerRecord: only schedulers write records, so what does not decode is newer."""
    try:
        record = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise NewerRecord(f"a record that this build cannot read: {error}") from error
    if record.format > RECORD_FORMAT:
        raise NewerRecord(
            f"record of format {record.format}; this build reads up to {RECORD_FORMAT}"
        )
    return record
