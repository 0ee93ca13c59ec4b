"""Starting a workflow, so that one request is one run whoever makes it and however often.

The run id is a function of the request. STATE is created as ``starting`` with the start event
inside; then the event goes to the log. Whoever meets an entry that is ``starting`` finishes it the
same way: the request made again, a signal, a sweep. Each step can be repeated without harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec

from perdure.authoring.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.core.durations import SECOND
from perdure.core.errors import (
    InvalidInputError,
    SerializationError,
    StoreFullError,
    WorkflowAlreadyStartedError,
)
from perdure.core.events import (
    WorkflowStarted,
    WorkflowTerminateRequested,
    decode_event,
    encode_event,
    identity,
)
from perdure.core.ids import run_id_for
from perdure.core.payloads import Payload
from perdure.core.state import StateEntry, Status, decode_state, encode_state
from perdure.engine.admission import Admission
from perdure.engine.patience import DEFAULT_TIMEOUT, Deadline, refused
from perdure.engine.payloads import PayloadStore, blob_prefix
from perdure.engine.waiting import wait_for_state
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.errors import (
    AlreadyExists,
    Conflict,
    StoreFull,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)

ABANDONED: Final = 2 * SECOND
"""A start that is not finished after this time is finished by whoever meets it."""

_DEDUP_WINDOW: Final = 100 * SECOND
"""Within it, appending the start event again has no effect (the port promises two minutes)."""

_ROOM: Final = 64
"""What the entry's revision may add to the start event."""


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """A wish for a run. ``request_id`` and ``requested_at`` together say which: the same two again
    are the same request. ``requested_at`` is 0 where the id alone identifies it."""

    workflow_id: str
    workflow_type: str
    args: Sequence[Payload] = ()
    task_queue: str = "default"
    request_id: str
    requested_at: int
    memo: Mapping[str, Payload] = field(default_factory=dict[str, Payload])
    search_attributes: Mapping[str, Payload] = field(default_factory=dict[str, Payload])
    execution_timeout: int = 0
    run_timeout: int = 0
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def run(self) -> str:
        return run_id_for(self.request_id, self.requested_at)

    @property
    def conflict_policy(self) -> WorkflowIDConflictPolicy:
        """The conflict policy in force, whichever of the two settings said it."""
        if self.id_reuse_policy is WorkflowIDReusePolicy.TERMINATE_IF_RUNNING:
            return WorkflowIDConflictPolicy.TERMINATE_EXISTING
        return self.id_conflict_policy or WorkflowIDConflictPolicy.FAIL


@dataclass(frozen=True, slots=True)
class StartOutcome:
    """``new``: the run is this request's own, also when an earlier try had started it already."""

    run: str
    new: bool


async def start(
    backend: Backend,
    request: StartRequest,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    admission: Admission | None = None,
) -> StartOutcome:
    """Start the run that ``request`` asks for, or find out what stands in its place.

    ``admission`` is the guard of the door at which the request came. Raises StoreFullError when it
    or the store refuses, WorkflowAlreadyStartedError as the id policies say, InvalidInputError for a
    request that can never work, UnavailableError when the store cannot be reached within ``timeout``
    seconds.
    """
    _check_policies(request)
    deadline = Deadline(timeout, f"start workflow {request.workflow_id!r}")
    if admission is None:
        return await _start(backend, request, deadline)
    why_not = "" if admission.is_open else await deadline.bound(admission.refusal())
    if why_not and await _begins_anew(backend, request, deadline):
        raise StoreFullError(f"workflow {request.workflow_id!r} was not started: {why_not}")
    try:
        return await _start(backend, request, deadline)
    except StoreFullError:
        admission.met_full()
        raise


async def _begins_anew(backend: Backend, request: StartRequest, deadline: Deadline) -> bool:
    """Whether the request would begin a run that is not there yet."""
    found = await deadline.persist(lambda: backend.state.read(request.workflow_id))
    if found is None:
        return True
    entry = decode_state(found[0])
    if entry.run == request.run:
        return False
    if entry.is_open:
        return request.conflict_policy is WorkflowIDConflictPolicy.TERMINATE_EXISTING
    if not _may_reuse(request.id_reuse_policy, entry.status):
        return False
    archived = await deadline.persist(lambda: backend.archive.get(request.workflow_id, request.run))
    return archived is None


async def _start(backend: Backend, request: StartRequest, deadline: Deadline) -> StartOutcome:
    entry, event = await _reservation(backend, request, deadline)
    data = encode_state(entry)
    while True:
        try:
            return await deadline.bound(_reserve_and_begin(backend, request, data, event))
        except AlreadyExists:
            outcome = await _meet(backend, request, data, deadline)
        except (Unavailable, UnknownOutcome) as error:
            await deadline.pause(error)
            outcome = await _meet(backend, request, data, deadline)
        except StoreFull as error:
            raise refused(error) from error
        except TooLarge as error:
            raise _too_large(len(data), backend.max_message) from error
        if outcome is not None:
            return outcome
        await deadline.pause()


async def _reserve_and_begin(
    backend: Backend, request: StartRequest, data: bytes, event: WorkflowStarted
) -> StartOutcome:
    """Both steps at once. Whatever happens in between, the entry names the run: see ``_meet``."""
    revision = await backend.state.create(request.workflow_id, data)
    address = Address(request.task_queue, request.workflow_id)
    await _append_start(backend, address, msgspec.structs.replace(event, revision=revision))
    return StartOutcome(request.run, new=True)


async def finish_start(backend: Backend, entry: StateEntry, revision: int) -> None:
    """Append the start event that an entry still ``starting`` holds. Idempotent.

    ``revision`` is the entry's own, as read with it.
    """
    if entry.starting is None:
        return
    address = Address(entry.task_queue, entry.workflow_id)
    event = msgspec.structs.replace(_start_event(entry.starting), revision=revision)
    # The store forgets the word after two minutes; a workflow may wait for its scheduler far
    # longer, and every signal to it comes by here.
    age = backend.clock.now() - entry.started_at
    if age > _DEDUP_WINDOW and await _is_in_log(backend, address, event):
        return
    await _append_start(backend, address, event)


async def _append_start(backend: Backend, address: Address, event: WorkflowStarted) -> None:
    await backend.log.append(address, Lane.EXTERNAL, encode_event(event), dedup=identity(event))


async def _meet(
    backend: Backend, request: StartRequest, data: bytes, deadline: Deadline
) -> StartOutcome | None:
    """Decide by what STATE holds; None when it changed meanwhile: decide again."""
    found = await deadline.persist(lambda: backend.state.read(request.workflow_id))
    if found is None:
        return None
    entry, revision = decode_state(found[0]), found[1]
    if entry.run == request.run:
        return await _finish_own(backend, request, entry, revision, deadline)
    # A request that comes again long after its run was closed and the id used anew.
    archived = await deadline.persist(lambda: backend.archive.get(request.workflow_id, request.run))
    if archived is not None:
        return StartOutcome(request.run, new=True)
    if entry.is_open:
        if backend.clock.now() - entry.started_at > ABANDONED or (
            request.conflict_policy is not WorkflowIDConflictPolicy.FAIL
        ):
            await deadline.persist(lambda: finish_start(backend, entry, revision))
        return await _meet_open(backend, request, entry, deadline)
    if not _may_reuse(request.id_reuse_policy, entry.status):
        raise _taken(entry)
    try:
        revision = await deadline.bound(
            backend.state.update(request.workflow_id, data, revision=revision)
        )
    except Conflict:
        return None
    except (Unavailable, UnknownOutcome) as error:
        await deadline.pause(error)
        return None
    except StoreFull as error:
        raise refused(error) from error
    return await _finish_own(backend, request, decode_state(data), revision, deadline)


async def _meet_open(
    backend: Backend, request: StartRequest, entry: StateEntry, deadline: Deadline
) -> StartOutcome | None:
    match request.conflict_policy:
        case WorkflowIDConflictPolicy.USE_EXISTING:
            return StartOutcome(entry.run, new=False)
        case WorkflowIDConflictPolicy.TERMINATE_EXISTING:
            await _terminate(backend, request, entry, deadline)
            return None
        case _:
            raise _taken(entry)


async def _terminate(
    backend: Backend, request: StartRequest, entry: StateEntry, deadline: Deadline
) -> None:
    """End ``entry``'s run and wait until STATE says so."""
    event = WorkflowTerminateRequested(
        eid=f"replaced-by:{request.run}",
        reason=f"replaced by the start of run {request.run} (TERMINATE_EXISTING)",
        run=entry.run,
    )
    address = Address(entry.task_queue, entry.workflow_id)
    await deadline.persist(
        lambda: backend.log.append(
            address, Lane.EXTERNAL, encode_event(event), dedup=f"{identity(event)}@{entry.run}"
        )
    )
    try:
        await wait_for_state(
            backend,
            entry.workflow_id,
            lambda now: now is None or now.run != entry.run or not now.is_open,
            timeout=max(deadline.remaining, 0),
        )
    except TimeoutError as error:
        raise deadline.error(error) from error


async def _finish_own(
    backend: Backend, request: StartRequest, entry: StateEntry, revision: int, deadline: Deadline
) -> StartOutcome:
    await deadline.persist(lambda: finish_start(backend, entry, revision))
    return StartOutcome(request.run, new=True)


async def _is_in_log(backend: Backend, address: Address, event: WorkflowStarted) -> bool:
    after = 0
    while page := await backend.log.following(address, Lane.EXTERNAL, after):
        for message in page:
            try:
                if identity(decode_event(message.data)) == identity(event):
                    return True
            except ValueError:
                continue  # Of a newer build, or garbage: not the event that we look for.
        after = page[-1].seq
    return False


def _start_event(data: Payload) -> WorkflowStarted:
    event = decode_event(bytes(data))
    if not isinstance(event, WorkflowStarted):
        raise TypeError(f"a starting entry holds a {type(event).__name__} event")
    return event


async def _reservation(
    backend: Backend, request: StartRequest, deadline: Deadline
) -> tuple[StateEntry, WorkflowStarted]:
    """The entry that reserves the id, and the event that it holds."""
    args = list(request.args)
    store = PayloadStore(backend.blobs)
    if not store.fits(args):
        prefix = blob_prefix(request.workflow_id, request.run, "start")
        try:
            args = await deadline.persist(lambda: store.offload(args, prefix))
        except SerializationError as error:
            raise InvalidInputError(f"args: {error}", field="args") from error
    event = WorkflowStarted(
        run=request.run,
        workflow_type=request.workflow_type,
        args=args,
        requested_at=request.requested_at,
        request_id=request.request_id,
        memo=dict(request.memo),
        search_attributes=dict(request.search_attributes),
        execution_timeout=request.execution_timeout,
        run_timeout=request.run_timeout,
        first_run=request.run,
        headers=dict(request.headers),
    )
    data = encode_event(event)
    entry = StateEntry(
        workflow_id=request.workflow_id,
        run=request.run,
        workflow_type=request.workflow_type,
        task_queue=request.task_queue,
        starting=msgspec.Raw(data),
        request_id=request.request_id,
        started_at=backend.clock.now(),
        memo=event.memo,
        search_attributes=event.search_attributes,
        execution_timeout=request.execution_timeout,
        first_run=request.run,
    )
    # Checked before anything is stored: a reservation whose event never fits the log would stay
    # unfinished for ever.
    size = max(len(data) + _ROOM, len(encode_state(entry)))
    if size > backend.max_message:
        raise _too_large(size, backend.max_message)
    return entry, event


def _check_policies(request: StartRequest) -> None:
    if (
        request.id_reuse_policy is WorkflowIDReusePolicy.REJECT_DUPLICATE
        and request.id_conflict_policy is WorkflowIDConflictPolicy.TERMINATE_EXISTING
    ):
        raise InvalidInputError(
            "id_conflict_policy TERMINATE_EXISTING cannot work with id_reuse_policy "
            "REJECT_DUPLICATE: the terminated run's id could not be used again",
            field="id_conflict_policy",
        )
    if (
        request.id_reuse_policy is WorkflowIDReusePolicy.TERMINATE_IF_RUNNING
        and request.id_conflict_policy is not WorkflowIDConflictPolicy.UNSPECIFIED
    ):
        raise InvalidInputError(
            "id_reuse_policy TERMINATE_IF_RUNNING already is a conflict policy: leave "
            "id_conflict_policy out",
            field="id_conflict_policy",
        )


def _may_reuse(policy: WorkflowIDReusePolicy, closed_as: Status) -> bool:
    match policy:
        case WorkflowIDReusePolicy.REJECT_DUPLICATE:
            return False
        case WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY:
            return closed_as is not Status.COMPLETED
        case _:
            return True


def _too_large(size: int, limit: int) -> InvalidInputError:
    return InvalidInputError(
        f"the start (arguments, memo, search attributes) takes {size} bytes, the limit is {limit}",
        field="args",
    )


def _taken(entry: StateEntry) -> WorkflowAlreadyStartedError:
    return WorkflowAlreadyStartedError(entry.workflow_id, entry.workflow_type, run_id=entry.run)
