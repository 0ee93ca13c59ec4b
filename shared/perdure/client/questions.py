"""Asking whoever owns a workflow: queries, and what a run waits for."""

from typing import Any, Final

import msgspec

from perdure.client.description import Waiting
from perdure.core.durations import SECOND
from perdure.core.errors import WorkflowNotFoundError, WorkflowQueryFailedError
from perdure.core.failures import Failure, to_exception
from perdure.core.payloads import NULL, Payload, PayloadConverter
from perdure.core.state import StateEntry, decode_state
from perdure.engine.patience import Deadline
from perdure.ports.addresses import Address
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError, Unavailable

STATUS: Final = "status"
"""A query that every workflow answers, from STATE when its code does not: no scheduler needed."""

_ONE_TRY: Final = 5.0
_DESCRIBE: Final = 2 * SECOND


class _Question(msgspec.Struct, kw_only=True, omit_defaults=True):
    workflow_id: str
    run: str = ""
    name: str = ""
    args: list[Payload] = []
    after: int = 0


class _Error(msgspec.Struct):
    kind: str
    message: str
    failure: Failure | None = None


class _Answer(msgspec.Struct):
    ok: bool
    result: Payload = NULL
    error: _Error | None = None


_encoder = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(_Answer)
_waitings = msgspec.json.Decoder(Waiting)


async def query(
    backend: Backend,
    workflow_id: str,
    *,
    run: str,
    name: str,
    args: list[Payload],
    after: int,
    timeout: float,
    converter: PayloadConverter,
) -> Payload:
    """The answer of the run's owner, which has seen everything up to sequence ``after``.

    Raises WorkflowNotFoundError, WorkflowQueryFailedError (also when nobody answers in time).
    """
    deadline = Deadline(timeout, f"query workflow {workflow_id!r}", reads=True)
    question = _encoder.encode(
        _Question(workflow_id=workflow_id, run=run, name=name, args=args, after=after)
    )
    trouble = "none answers"
    while True:
        entry = await _entry(backend, workflow_id, run, deadline)
        try:
            answer = await _ask(backend, entry, question, deadline)
        except Unavailable as error:
            answer, trouble = None, str(error) or trouble
        if answer is not None and answer.ok:
            return answer.result
        error = answer.error if answer is not None else None
        is_current = run in ("", entry.run)
        if name == STATUS and is_current and (error is None or _is_unknown_query(error)):
            return msgspec.Raw(_encoder.encode(entry.status.value))
        # Before its first record a run is only about to be: its owner may know nothing of it yet.
        if error is not None and error.kind != "unavailable" and entry.starting is None:
            raise _failed(error, converter)
        if error is not None:
            trouble = error.message
        if deadline.remaining > 0:
            await deadline.pause()
        if deadline.remaining <= 0:
            raise WorkflowQueryFailedError(
                f"no scheduler of task queue {entry.task_queue!r} answered query {name!r} of "
                f"workflow {workflow_id!r} within {timeout:g} s: {trouble}. Is one running?"
            )


async def waiting_for(backend: Backend, entry: StateEntry) -> Waiting | None:
    """What ``entry``'s run waits for, or None when no owner answers."""
    question = _encoder.encode(_Question(workflow_id=entry.workflow_id, run=entry.run))
    try:
        data = await backend.messages.ask(_topic("describe", entry), question, timeout=_DESCRIBE)
        waiting = _waitings.decode(data)
        return waiting if waiting.ok else None
    except (PortError, msgspec.DecodeError):
        return None


async def _entry(backend: Backend, workflow_id: str, run: str, deadline: Deadline) -> StateEntry:
    found = await deadline.persist(lambda: backend.state.read(workflow_id))
    if found is None:
        raise WorkflowNotFoundError(workflow_id)
    return decode_state(found[0])


async def _ask(backend: Backend, entry: StateEntry, question: bytes, deadline: Deadline) -> _Answer:
    seconds = max(min(deadline.remaining, _ONE_TRY), 0.001)
    data = await backend.messages.ask(
        _topic("query", entry), question, timeout=int(seconds * SECOND)
    )
    return _answers.decode(data)


def _topic(what: str, entry: StateEntry) -> tuple[str, ...]:
    slot = Address(entry.task_queue, entry.workflow_id).slot
    return (what, entry.task_queue, str(slot))


def _is_unknown_query(error: _Error) -> bool:
    return error.kind != "failed" or error.message.startswith("unknown query")


def _failed(error: _Error, converter: PayloadConverter) -> WorkflowQueryFailedError:
    failed = WorkflowQueryFailedError(error.message)
    cause: Any = error.failure.cause if error.failure is not None else None
    if isinstance(cause, Failure):
        failed.__cause__ = to_exception(cause, converter)
    return failed
