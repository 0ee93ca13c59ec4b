"""Failures on the wire, and their way to exceptions and back."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any, Literal, cast

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


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    """``error`` and its causes as a failure that decodes again. Never raises: user code fills these
    fields, so details that cannot be encoded become their ``repr``, and an error whose own fields
    raise keeps its text and its type's name."""
    nested = _nested(error)
    cause = (
        to_failure(nested, converter, depth + 1)
        if nested is not None and depth < MAX_CAUSES
        else None
    )
    try:
        return _failure(error, cause, converter)
    except Exception:  # noqa: BLE001
        text = _clip(_text(error), MAX_MESSAGE)
        return Failure(message=text, type=type(error).__name__, stack=_stack(error), cause=cause)


def _nested(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return None if error.__suppress_context__ else error.__context__


def _failure(error: BaseException, cause: Failure | None, converter: PayloadConverter) -> Failure:
    stack = _string(getattr(error, "stack_trace", "")) or _stack(error)
    message = getattr(error, "message", None)
    text = _clip(message if isinstance(message, str) else _text(error), MAX_MESSAGE)
    match error:
        case errors.ApplicationError():
            delay = error.next_retry_delay
            return Failure(
                message=text,
                type=_string(error.type),
                stack=stack,
                details=_encode_all(error.details, converter),
                non_retryable=bool(error.non_retryable),
                next_retry_delay=nanoseconds(delay) if isinstance(delay, timedelta) else None,
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
                message=text, kind="server", non_retryable=bool(error.non_retryable), cause=cause
            )
        case errors.ActivityError():
            return Failure(
                message=text,
                kind="activity",
                activity_type=_string(error.activity_type),
                activity_id=_string(error.activity_id),
                attempt=int(error.attempt),
                retry_state=int(error.retry_state or 0),
                identity=_string(error.identity),
                cause=cause,
            )
        case errors.ChildWorkflowError():
            return Failure(
                message=text,
                kind="child_workflow",
                workflow_id=_string(error.workflow_id),
                run_id=_string(error.run_id),
                workflow_type=_string(error.workflow_type),
                retry_state=int(error.retry_state or 0),
                cause=cause,
            )
        case errors.WorkflowAlreadyStartedError():
            return Failure(
                message=text,
                kind="already_started",
                workflow_id=_string(error.workflow_id),
                workflow_type=_string(error.workflow_type),
                run_id=_string(error.run_id),
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
    details = _decode_all(failure.details, converter)
    state = known(errors.RetryState, failure.retry_state, None)
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
                category=known(
                    errors.ApplicationErrorCategory,
                    failure.category,
                    errors.ApplicationErrorCategory.UNSPECIFIED,
                ),
            )
        case "canceled":
            return errors.CancelledError(failure.message, *details)
        case "terminated":
            return errors.TerminatedError(failure.message, *details)
        case "timeout":
            kind = known(errors.TimeoutType, failure.timeout, None)
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
        case "already_started":  # pragma: no branch
            return errors.WorkflowAlreadyStartedError(
                failure.workflow_id, failure.workflow_type, run_id=failure.run_id or None
            )


def known[E: IntEnum, D](kind: type[E], value: int, default: D) -> E | D:
    """``value`` as a member of ``kind``; ``default`` for 0 and for what a newer build added."""
    return kind(value) if value in kind else default


def _string(value: object) -> str:
    return _clip(str(value), MAX_MESSAGE) if value else ""


def _text(error: BaseException) -> str:
    try:
        # A text may be of a class of its own.
        return f"{error}" or type(error).__name__
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
        except Exception:  # noqa: BLE001
            encoded.append(converter.to_payload(_clip(repr(value), MAX_MESSAGE)))
    return encoded


def _decode_all(details: Sequence[Payload], converter: PayloadConverter) -> list[Any]:
    decoded: list[Any] = []
    for payload in details:
        try:
            decoded.append(converter.from_payload(payload))
        except Exception:  # noqa: BLE001
            # The failure matters more than a detail that nobody here can read.
            decoded.append(payload)
    return decoded
