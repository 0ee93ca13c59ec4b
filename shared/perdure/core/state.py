"""What STATE holds: one small entry per workflow id, a projection of the log and the arbiter of ids.

An entry is created by compare-and-set as ``starting`` with the start event inside; whoever meets
it may finish the start. Afterwards it only moves forward in (run, record).
"""

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from perdure.core.failures import Failure
from perdure.core.payloads import Payload

# msgspec reads ``Raw | None`` as None alone; a Raw whose default is None is what works.
if TYPE_CHECKING:
    _Absent = Payload | None
else:
    _Absent = Payload


class Status(StrEnum):
    """How a run stands. A run that nondeterminism or quarantine stopped stays RUNNING, blocked."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    CONTINUED_AS_NEW = "continued_as_new"


class Strike(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Once the process that ran a run's code had to be replaced because of it, or died of it.

    ``at`` is the clock of whoever saw it, and the strike's identity; ``k`` the run's newest record
    then (-1: none); ``stack`` where its code was, innermost first.
    """

    at: int
    reason: str
    build: str = ""
    k: int = -1
    stack: str = ""


class StateEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``k`` is the record that this entry reflects (-1 before the first), ``closed_seq`` the stream
    sequence of the closing record (the cut up to which signals were taken)."""

    workflow_id: str
    run: str
    workflow_type: str
    task_queue: str
    status: Status = Status.RUNNING
    starting: _Absent = None
    """The encoded WorkflowStarted event, until the first record is known to exist."""
    request_id: str = ""
    started_at: int = 0
    closed_at: int = 0
    k: int = -1
    closed_seq: int = 0
    history_length: int = 0
    """Events and commands of a closed run."""
    result: _Absent = None
    failure: Failure | None = None
    blocked: str = ""
    blocked_build: str = ""
    strikes: list[Strike] = []
    memo: dict[str, Payload] = {}
    search_attributes: dict[str, Payload] = {}
    execution_timeout: int = 0
    first_run: str = ""
    format: int = 1

    @property
    def is_open(self) -> bool:
        return self.status is Status.RUNNING


_decoder = msgspec.json.Decoder(StateEntry)
_encoder = msgspec.json.Encoder()


def encode_state(entry: StateEntry) -> bytes:
    return _encoder.encode(entry)


def decode_state(data: bytes) -> StateEntry:
    return _decoder.decode(data)
