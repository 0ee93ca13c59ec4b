"""Sending an event to a workflow id from outside, and knowing that it counts.

An append alone proves nothing: the run may have closed a moment before. So publish, then look:
a close below the event's own sequence that nothing follows means that nobody will ever read it.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from perdure.core.errors import InvalidInputError, SerializationError, WorkflowNotFoundError
from perdure.core.events import (
    WorkflowCancelRequested,
    WorkflowSignaled,
    WorkflowTerminateRequested,
    decode_event,
    encode_event,
    identity,
)
from perdure.core.ids import encode_token
from perdure.core.records import NewerRecord, Record, decode_record
from perdure.core.state import StateEntry, decode_state
from perdure.engine.patience import DEFAULT_TIMEOUT, Deadline, refused
from perdure.engine.payloads import PayloadStore, blob_prefix
from perdure.engine.starts import finish_start
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.errors import StoreFull, TooLarge, Unavailable, UnknownOutcome

OutsideEvent = WorkflowSignaled | WorkflowCancelRequested | WorkflowTerminateRequested

_PAGE: Final = 256


class WorkflowClosedError(WorkflowNotFoundError):
    """There was such a workflow, but it is closed."""

    def __init__(self, workflow_id: str, *, run: str) -> None:
        super().__init__(workflow_id, f"workflow execution already closed (run {run})")
        self.run = run


@dataclass(frozen=True, slots=True)
class Delivered:
    """The event's sequence, and the run that takes it."""

    seq: int
    run: str


async def send(
    backend: Backend,
    workflow_id: str,
    event: OutsideEvent,
    *,
    run: str = "",
    timeout: float = DEFAULT_TIMEOUT,
) -> int:
    """:func:`deliver`, for those who need the sequence alone."""
    return (await deliver(backend, workflow_id, event, run=run, timeout=timeout)).seq


async def deliver(
    backend: Backend,
    workflow_id: str,
    event: OutsideEvent,
    *,
    run: str = "",
    again: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
) -> Delivered:
    """Deliver ``event`` to the open run of ``workflow_id`` (only to ``run``, when given); returns
    once a run is sure to take it.

    ``again`` says that an earlier try may have arrived: then an event that the closed run had
    taken counts as delivered. Raises WorkflowNotFoundError (WorkflowClosedError when there was
    one), InvalidInputError for an event that is too large, UnavailableError.
    """
    if run:
        event = msgspec.structs.replace(event, run=run)
    deadline = Deadline(timeout, f"deliver to workflow {workflow_id!r}")
    while True:
        entry = await _open_entry(backend, workflow_id, run, deadline)
        if isinstance(entry, WorkflowClosedError):
            taken = await _taken_before(backend, workflow_id, event, deadline) if again else None
            if taken is not None:
                return taken
            raise entry
        data = await _encoded(backend, entry, event, deadline)
        try:
            sequence = await deadline.bound(_append(backend, entry, event, data))
        except UnknownOutcome as error:
            again = True
            await deadline.pause(error)
            continue
        except Unavailable as error:
            await deadline.pause(error)
            continue
        except StoreFull as error:
            raise refused(error) from error
        except TooLarge as error:
            raise _too_large(len(data), backend.max_message) from error
        if await _is_taken(backend, entry, sequence, deadline):
            return Delivered(sequence, entry.run)


async def _encoded(
    backend: Backend, entry: StateEntry, event: OutsideEvent, deadline: Deadline
) -> bytes:
    """The event's bytes, its large payloads beside the log where they go with the run."""
    prefix = blob_prefix(entry.workflow_id, entry.run, f"in-{encode_token(event.eid)}")
    store = PayloadStore(backend.blobs)
    try:
        slim = await deadline.persist(lambda: store.offload_event(event, prefix))
    except SerializationError as error:
        raise InvalidInputError(f"args: {error}", field="args") from error
    data = encode_event(slim)
    if len(data) > backend.max_message:
        raise _too_large(len(data), backend.max_message)
    return data


async def _append(backend: Backend, entry: StateEntry, event: OutsideEvent, data: bytes) -> int:
    # With the run in it: after a close, the same event for the next run on the same subject is
    # another append.
    return await backend.log.append(
        _address(entry), Lane.EXTERNAL, data, dedup=f"{identity(event)}@{entry.run}"
    )


async def _open_entry(
    backend: Backend, workflow_id: str, run: str, deadline: Deadline
) -> StateEntry | WorkflowClosedError:
    """The entry of the run to send to, its start in the log; or why there is none."""
    found = await deadline.persist(lambda: backend.state.read(workflow_id))
    if found is None:
        raise WorkflowNotFoundError(workflow_id)
    entry, revision = decode_state(found[0]), found[1]
    if run and entry.run != run:
        return WorkflowClosedError(workflow_id, run=run)
    if not entry.is_open:
        return WorkflowClosedError(workflow_id, run=entry.run)
    if entry.starting is not None:
        # An event before the start in the log would belong to nobody.
        await deadline.persist(lambda: finish_start(backend, entry, revision))
    return entry


async def _is_taken(backend: Backend, entry: StateEntry, sequence: int, deadline: Deadline) -> bool:
    """Whether ``entry``'s run takes what lies at ``sequence``: only a close before it says no."""
    while True:
        tip = await deadline.persist(lambda: backend.log.tip(_address(entry)))
        record = _readable(tip.data) if tip is not None else None
        of_run = record is not None and record.run == entry.run
        if of_run and tip and record:
            if record.close is None:
                return True
            if tip.seq > sequence:
                return await _is_covered(backend, entry, sequence, deadline, otherwise=True)
        found = await deadline.persist(lambda: backend.state.read(entry.workflow_id))
        if found is None:
            return False
        current = decode_state(found[0])
        if current.run != entry.run:
            return await _is_covered(backend, entry, sequence, deadline, otherwise=False)
        if not current.is_open:
            return current.closed_seq > sequence and await _is_covered(
                backend, entry, sequence, deadline, otherwise=True
            )
        if not of_run:
            # No record yet that this build can read, and open: it will be read.
            return True
        # A closing record below mine is void or final: its owner is about to say which.
        await deadline.pause()


async def _is_covered(
    backend: Backend, entry: StateEntry, sequence: int, deadline: Deadline, *, otherwise: bool
) -> bool:
    """Whether the first record of ``entry``'s run after ``sequence`` is sure to take what lies there;
    ``otherwise`` when the log has none.

    All are, but the close that follows a void one: it has to cover only what came before that.
    """
    after = sequence
    while True:
        page = await deadline.persist(
            lambda after=after: backend.log.following(
                _address(entry), Lane.HISTORY, after, limit=_PAGE
            )
        )
        for message in page:
            record = _readable(message.data)
            if record is not None and record.run == entry.run:
                is_second_close = record.joined and record.close is not None
                return not is_second_close or sequence in record.applied
        if len(page) < _PAGE:
            return otherwise
        after = page[-1].seq


async def _taken_before(
    backend: Backend, workflow_id: str, event: OutsideEvent, deadline: Deadline
) -> Delivered | None:
    """Where, and in which run, ``event`` was taken that an earlier try had appended."""
    found = await deadline.persist(lambda: backend.state.read(workflow_id))
    if found is None:
        return None
    entry = decode_state(found[0])
    after = 0
    while True:
        page = await deadline.persist(
            lambda after=after: backend.log.following(
                _address(entry), Lane.EXTERNAL, after, limit=_PAGE
            )
        )
        for message in page:
            if message.seq < entry.closed_seq and _identity(message.data) == identity(event):
                taker = await _taker(backend, entry, message.seq, deadline)
                if taker and event.run in ("", taker):
                    return Delivered(message.seq, taker)
        if len(page) < _PAGE:
            return None
        after = page[-1].seq


async def _taker(backend: Backend, entry: StateEntry, sequence: int, deadline: Deadline) -> str:
    """The run that took what lies at ``sequence``, or nothing: the run of the next record, unless it
    began later, or had closed before and needed to cover no more."""
    after = sequence
    while True:
        page = await deadline.persist(
            lambda after=after: backend.log.following(
                _address(entry), Lane.HISTORY, after, limit=_PAGE
            )
        )
        for message in page:
            record = _readable(message.data)
            if record is None:
                continue
            began_later = record.k == 0 and record.applied[0] > sequence
            is_second_close = record.joined and record.close is not None
            missed = began_later or (is_second_close and sequence not in record.applied)
            return "" if missed else record.run
        if len(page) < _PAGE:
            return entry.run
        after = page[-1].seq


def _identity(data: bytes) -> str:
    try:
        return identity(decode_event(data))
    except ValueError:
        return ""  # Of a newer build, or garbage: nothing that we sent.


def _readable(data: bytes) -> Record | None:
    try:
        return decode_record(data)
    except NewerRecord:
        return None  # Of a newer build: STATE decides.


def _address(entry: StateEntry) -> Address:
    return Address(entry.task_queue, entry.workflow_id)


def _too_large(size: int, limit: int) -> InvalidInputError:
    return InvalidInputError(f"the event takes {size} bytes, the limit is {limit}", field="args")
