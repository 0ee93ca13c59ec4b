"""Failures on the wire, and their way to exceptions and back."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from perdure.core import errors
from perdure.core.durations import nanoseconds, to_timedelta
from perdure.core.payloads import Payload, PayloadConverter

FailureKind = Literal[
    "application",
    "canceled",
    "terminated",
    "timeout",
    "server",
    "activity",
    "child_workflow",
    "already_started",
]

MAX_MESSAGE = 8_192
MAX_STACK = 16_384
MAX_CAUSES = 16


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A failure with its causes. Fields apply as their kind needs them; the rest is left out."""

    message: str
    kind: FailureKind = "application"
    type: str = ""
    stack: str = ""
    details: list[Payload] = []
    non_retryable: bool = False
    next_retry_delay: int | None = None
    category: int = 0
    timeout: int = 0
    activity_type: str = ""
    activity_id: str = ""
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    attempt: int = 0
    retry_state: int = 0
    identity: str = ""
    cause: Failure | None = None


def to_failure(error: BaseException, converter: PayloadConverter, depth: int = 0) -> Failure:
    """``error`` and its causes as a failure. Never raises: details that cannot be encoded become
    their ``repr``."""
    nested = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    cause = (
        to_failure(nested, converter, depth + 1)
        if nested is not None and depth < MAX_CAUSES
        else None
    )
    stack = getattr(error, "stack_trace", "") or _stack(error)
    message = getattr(error, "message", None)
    text = _clip(message if isinstance(message, str) else _text(error), MAX_MESSAGE)
    match error:
        case errors.ApplicationError():
            delay = error.next_retry_delay
            return Failure(
                message=text,
                type=error.type or "",
                stack=stack,
                details=_encode_all(error.details, converter),
                non_retryable=error.non_retryable,
                next_retry_delay=None if delay is None else nanoseconds(delay),
                category=int(error.category),
                cause=cause,
            )
        case errors.CancelledError():
            return Failure(
                message=text,
                kind="canceled",
                details=_encode_all(error.details, converter),
                cause=cause,
            )
        case errors.TerminatedError():
            return Failure(
                message=text,
                kind="terminated",
                details=_encode_all(error.details, converter),
                cause=cause,
            )
        case errors.TimeoutError():
            return Failure(
                message=text,
                kind="timeout",
                timeout=int(error.type or 0),
                details=_encode_all(error.last_heartbeat_details, converter),
                cause=cause,
            )
        case errors.ServerError():
            return Failure(
                message=text, kind="server", non_retryable=error.non_retryable, cause=cause
            )
        case errors.ActivityError():
            return Failure(
                message=text,
                kind="activity",
                activity_type=error.activity_type,
                activity_id=error.activity_id,
                attempt=error.attempt,
                retry_state=int(error.retry_state or 0),
                identity=error.identity,
                cause=cause,
            )
        case errors.ChildWorkflowError():
            return Failure(
                message=text,
                kind="child_workflow",
                workflow_id=error.workflow_id,
                run_id=error.run_id,
                workflow_type=error.workflow_type,
                retry_state=int(error.retry_state or 0),
                cause=cause,
            )
        case errors.WorkflowAlreadyStartedError():
            return Failure(
                message=text,
                kind="already_started",
                workflow_id=error.workflow_id,
                workflow_type=error.workflow_type,
                run_id=error.run_id or "",
                cause=cause,
            )
        case _ if errors.is_cancelled_exception(error):
            return Failure(message=text or "Cancelled", kind="canceled", cause=cause)
        case _:
            return Failure(message=text, type=type(error).__name__, stack=stack, cause=cause)


def to_exception(failure: Failure, converter: PayloadConverter) -> errors.FailureError:
    """The exception that a failure stands for, with its causes chained."""
    error = _exception(failure, converter)
    error.stack_trace = failure.stack
    if failure.cause is not None:
        error.__cause__ = to_exception(failure.cause, converter)
    return error


def _exception(failure: Failure, converter: PayloadConverter) -> errors.FailureError:
    details = [converter.from_payload(item) for item in failure.details]
    state = errors.RetryState(failure.retry_state) if failure.retry_state else None
    match failure.kind:
        case "application":
            return errors.ApplicationError(
                failure.message,
                *details,
                type=failure.type or None,
                non_retryable=failure.non_retryable,
                next_retry_delay=(
                    None
                    if failure.next_retry_delay is None
                    else to_timedelta(failure.next_retry_delay)
                ),
                category=errors.ApplicationErrorCategory(failure.category),
            )
        case "canceled":
            return errors.CancelledError(failure.message, *details)
        case "terminated":
            return errors.TerminatedError(failure.message, *details)
        case "timeout":
            kind = errors.TimeoutType(failure.timeout) if failure.timeout else None
            return errors.TimeoutError(failure.message, type=kind, last_heartbeat_details=details)
        case "server":
            return errors.ServerError(failure.message, non_retryable=failure.non_retryable)
        case "activity":
            return errors.ActivityError(
                failure.message,
                identity=failure.identity,
                activity_type=failure.activity_type,
                activity_id=failure.activity_id,
                attempt=failure.attempt,
                retry_state=state,
            )
        case "child_workflow":
            return errors.ChildWorkflowError(
                failure.message,
                workflow_id=failure.workflow_id,
                run_id=failure.run_id,
                workflow_type=failure.workflow_type,
                retry_state=state,
            )
        case "already_started":
            return errors.WorkflowAlreadyStartedError(
                failure.workflow_id, failure.workflow_type, run_id=failure.run_id or None
            )


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as broken:  # noqa: BLE001
        return f"{type(error).__name__} (its text raised {type(broken).__name__})"


def _stack(error: BaseException) -> str:
    if error.__traceback__ is None:
        return ""
    return _clip("".join(traceback.format_tb(error.__traceback__)), MAX_STACK)


def _clip(text: str, limit: int) -> str:
    safe = text.encode("utf-8", "backslashreplace").decode()
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def _encode_all(values: Sequence[Any], converter: PayloadConverter) -> list[Payload]:
    encoded: list[Payload] = []
    for value in values:
        try:
            encoded.append(converter.to_payload(value))
        except errors.SerializationError:
            encoded.append(converter.to_payload(repr(value)))
    return encoded
