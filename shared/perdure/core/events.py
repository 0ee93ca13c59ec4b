"""Everything that can happen to a workflow, in past tense: the inbox's vocabulary.

On the wire each event is one JSON object with a ``type``; absent fields hold their default, and an
absent ``format`` is 1. A reader that meets an unknown type or a newer format blocks the run (it is
for a newer build to read); bytes that are no such object are garbage, skipped by every version
alike and dead-lettered. ``headers`` carries context (``traceparent``) untouched.

Every event has an :func:`identity`; the second of one identity is dropped, deterministically,
since both are in the log. Times are nanoseconds since the epoch, durations nanoseconds.
"""

from typing import Final

import msgspec

from perdure.core.failures import Failure
from perdure.core.payloads import NULL, Payload

FORMAT: Final = 1


class _Event(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", gc=False
):
    format: int = FORMAT
    headers: dict[str, str] = {}


class WorkflowStarted(_Event, frozen=True, tag="workflow_started"):
    """A run begins. ``revision`` is the STATE reservation that this start won."""

    run: str
    workflow_type: str
    args: list[Payload] = []
    revision: int = 0
    requested_at: int = 0
    request_id: str = ""
    memo: dict[str, Payload] = {}
    search_attributes: dict[str, Payload] = {}
    execution_timeout: int = 0
    run_timeout: int = 0
    first_run: str = ""
    attempt: int = 1


class WorkflowSignaled(_Event, frozen=True, tag="workflow_signaled"):
    """A signal; ``run`` empty means whichever run of the id is open at this place in the log."""

    eid: str
    name: str
    args: list[Payload] = []
    sender: str = ""
    sent_at: int = 0
    run: str = ""


class WorkflowCancelRequested(_Event, frozen=True, tag="workflow_cancel_requested"):
    """A request to end; the code may clean up, or refuse."""

    eid: str
    reason: str = ""
    run: str = ""


class WorkflowTerminateRequested(_Event, frozen=True, tag="workflow_terminate_requested"):
    """The run ends here and now; its code is not asked."""

    eid: str
    reason: str = ""
    details: list[Payload] = []
    run: str = ""


class ActivityStarted(_Event, frozen=True, tag="activity_started"):
    """A worker took the task: recorded only where a schedule-to-start deadline runs."""

    run: str
    n: int
    attempt: int


class ActivityCompleted(_Event, frozen=True, tag="activity_completed"):
    run: str
    n: int
    attempt: int
    activity_type: str
    result: Payload = NULL
    identity: str = ""


class ActivityFailed(_Event, frozen=True, tag="activity_failed"):
    """The activity failed for good; ``failure`` is the last attempt's."""

    run: str
    n: int
    attempt: int
    activity_type: str
    failure: Failure
    retry_state: int
    identity: str = ""


class ActivityAttemptFailed(_Event, frozen=True, tag="activity_attempt_failed"):
    """An attempt failed and its backoff is too long for a redelivery: the core times the next."""

    run: str
    n: int
    attempt: int
    failure: Failure
    delay: int
    heartbeat: list[Payload] = []


class ActivityCanceled(_Event, frozen=True, tag="activity_canceled"):
    run: str
    n: int
    attempt: int
    details: list[Payload] = []
    identity: str = ""


class TimerFired(_Event, frozen=True, tag="timer_fired"):
    """A timer came due. One whose log timestamp is before ``due`` is not the timer: it is re-armed."""

    run: str
    n: int
    due: int


Event = (
    WorkflowStarted
    | WorkflowSignaled
    | WorkflowCancelRequested
    | WorkflowTerminateRequested
    | ActivityStarted
    | ActivityCompleted
    | ActivityFailed
    | ActivityAttemptFailed
    | ActivityCanceled
    | TimerFired
)


OUTSIDE: Final = (WorkflowSignaled, WorkflowCancelRequested, WorkflowTerminateRequested)
"""What outsiders may send to a run."""


def identity(event: Event) -> str:
    """What makes two events the same event, whatever their source."""
    match event:
        case WorkflowStarted():
            return f"start:{event.run}"
        case WorkflowSignaled() | WorkflowCancelRequested() | WorkflowTerminateRequested():
            return f"ext:{event.eid}"
        case ActivityStarted():
            return f"{event.run}:{event.n}:{event.attempt}:started"
        case ActivityAttemptFailed():
            return f"{event.run}:{event.n}:{event.attempt}:attempt"
        case ActivityCompleted() | ActivityFailed() | ActivityCanceled():
            return f"{event.run}:{event.n}:outcome"
        case TimerFired():  # pragma: no branch
            return f"{event.run}:{event.n}:fired"


class UnreadableEvent(ValueError):
    """Bytes that are no event of any version: skipped deterministically, and dead-lettered."""


class NewerEvent(ValueError):
    """An event of a newer build: the run blocks until that build reads it."""


class _Peek(msgspec.Struct):
    type: str
    format: int = FORMAT


_KNOWN: Final = frozenset(str(kind.__struct_config__.tag) for kind in Event.__args__)
_decoder = msgspec.json.Decoder(Event)
_peek = msgspec.json.Decoder(_Peek)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    return _encoder.encode(event)


def decode_event(data: bytes) -> Event:
    """Raises UnreadableEvent or NewerEvent, and nothing else."""
    try:
        event: Event = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(data, error) from error
    if event.format > FORMAT:
        raise NewerEvent(f"event of format {event.format}; this build reads up to {FORMAT}")
    return event


def _explain(data: bytes, error: Exception) -> ValueError:
    try:
        peek = _peek.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UnreadableEvent(f"not an event: {error}")
    if peek.format > FORMAT:
        return NewerEvent(f"event of format {peek.format}; this build reads up to {FORMAT}")
    if peek.type not in _KNOWN:
        return NewerEvent(f"unknown event type {peek.type!r}: written by a newer build?")
    return UnreadableEvent(f"malformed {peek.type} event: {error}")
