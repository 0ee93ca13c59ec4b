"""Failures, exceptions, and the way between."""

import asyncio
from concurrent.futures import CancelledError as FuturesCancelled
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.driver import CONVERTER, pack

from perdure.core import errors
from perdure.core.failures import MAX_CAUSES, MAX_MESSAGE, Failure, known, to_exception, to_failure


def there_and_back(error: BaseException) -> errors.FailureError:
    data = msgspec.json.encode(to_failure(error, CONVERTER))
    return to_exception(msgspec.json.decode(data, type=Failure), CONVERTER)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (
            errors.ApplicationError(
                "m",
                1,
                {"a": 2},
                type="T",
                non_retryable=True,
                next_retry_delay=timedelta(seconds=3),
                category=errors.ApplicationErrorCategory.BENIGN,
            ),
            ("message", "details", "type", "non_retryable", "next_retry_delay", "category"),
        ),
        (errors.ApplicationError("m"), ("message", "type", "next_retry_delay", "category")),
        (errors.CancelledError("c", 1), ("message", "details")),
        (errors.TerminatedError("t", 1), ("message", "details")),
        (
            errors.TimeoutError("t", type=errors.TimeoutType.HEARTBEAT, last_heartbeat_details=[1]),
            ("message", "type", "last_heartbeat_details"),
        ),
        (errors.TimeoutError("t"), ("message", "type")),
        (errors.ServerError("s", non_retryable=True), ("message", "non_retryable")),
        (
            errors.ActivityError(
                "a",
                identity="i",
                activity_type="t",
                activity_id="1",
                attempt=4,
                retry_state=errors.RetryState.TIMEOUT,
            ),
            ("message", "identity", "activity_type", "activity_id", "attempt", "retry_state"),
        ),
        (
            errors.ChildWorkflowError(
                "c",
                workflow_id="w",
                run_id="r",
                workflow_type="t",
                retry_state=errors.RetryState.TIMEOUT,
            ),
            ("message", "workflow_id", "run_id", "workflow_type", "retry_state"),
        ),
        (
            errors.WorkflowAlreadyStartedError("w", "t", run_id="r"),
            ("message", "workflow_id", "workflow_type", "run_id"),
        ),
    ],
)
def test_every_kind_survives_the_wire(error: errors.FailureError, fields: tuple[str, ...]) -> None:
    again = there_and_back(error)
    assert type(again) is type(error)
    for name in fields:
        mine, other = getattr(error, name), getattr(again, name)
        assert (list(mine) if isinstance(mine, tuple) else mine) == (
            list(other) if isinstance(other, tuple) else other
        )


def test_other_exceptions_become_application_errors_of_their_type() -> None:
    again = there_and_back(raised(KeyError("k"), OSError("disk")))
    assert isinstance(again, errors.ApplicationError)
    assert (again.type, again.message) == ("KeyError", "'k'")
    assert "test_failures.py" in again.stack_trace
    assert isinstance(again.cause, errors.ApplicationError) and again.cause.type == "OSError"


def test_causes_context_and_groups() -> None:
    try:
        try:
            raise ValueError("first")
        except ValueError:
            raise TypeError("second")  # noqa: B904
    except TypeError as error:
        assert to_failure(error, CONVERTER).cause is not None
    try:
        try:
            raise ValueError("first")
        except ValueError:
            raise TypeError("second") from None
    except TypeError as error:
        assert to_failure(error, CONVERTER).cause is None
    group = to_failure(ExceptionGroup("two", [ValueError("a"), TypeError("b")]), CONVERTER)
    assert group.cause is not None and group.cause.type == "ValueError"


def test_an_error_that_causes_itself_ends() -> None:
    error = ValueError("round")
    other = TypeError("and round")
    error.__cause__, other.__cause__ = other, error
    failure: Failure | None = to_failure(error, CONVERTER)
    depth = 0
    while failure is not None:
        failure, depth = failure.cause, depth + 1
    assert depth == MAX_CAUSES + 1


class Rude(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Shouting(Exception):
    @property
    def message(self) -> str:
        raise ValueError("no message")


class Opaque:
    def __repr__(self) -> str:
        return "opaque \ud800"


@pytest.mark.parametrize(
    ("error", "text", "kind"),
    [
        (Rude(), "Rude (its text raised ValueError)", "Rude"),
        (Shouting("loud"), "loud", "Shouting"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError("\ud800"), "\\ud800", "ValueError"),
        (errors.ApplicationError("x", Opaque()), "x", ""),
        (errors.ApplicationError("x", type=5, non_retryable="yes"), "x", "5"),  # pyright: ignore[reportArgumentType]
        (errors.ApplicationError("x", category="odd"), "x", "ApplicationError"),  # pyright: ignore[reportArgumentType]
        (errors.ActivityError("x", activity_type=None, identity=7), "x", ""),  # pyright: ignore[reportArgumentType]
    ],
)
def test_whatever_user_code_puts_into_an_error(error: Exception, text: str, kind: str) -> None:
    data = msgspec.json.encode(to_failure(error, CONVERTER))
    failure = msgspec.json.decode(data, type=Failure)
    assert (failure.message, failure.type) == (text, kind)


def test_long_texts_are_cut() -> None:
    failure = to_failure(ValueError("x" * 10_000), CONVERTER)
    assert len(failure.message) == MAX_MESSAGE and failure.message.endswith("…")


def test_details_that_nobody_can_read_stay_as_they_are() -> None:
    strange = msgspec.Raw(b'{"$payload":{"encoding":"binary/encrypted","data":""}}')
    error = to_exception(Failure(message="m", details=[pack(1), strange]), CONVERTER)
    assert isinstance(error, errors.ApplicationError)
    assert error.details == (1, strange)


def test_unknown_numbers_of_a_newer_build() -> None:
    assert known(errors.RetryState, 3, None) is errors.RetryState.TIMEOUT
    assert known(errors.RetryState, 0, None) is None is known(errors.RetryState, 99, None)
    late = to_exception(Failure(message="t", kind="timeout", timeout=44), CONVERTER)
    assert isinstance(late, errors.TimeoutError) and late.type is None


def caused(error: Any, cause: BaseException) -> Any:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "cancelled"),
    [
        (errors.CancelledError(), True),
        (asyncio.CancelledError(), True),
        (FuturesCancelled(), True),
        (caused(errors.ActivityError("a"), errors.CancelledError()), True),
        (caused(errors.ChildWorkflowError("a"), errors.CancelledError()), True),
        (caused(errors.ActivityError("a"), errors.ApplicationError("b")), False),
        (errors.ActivityError("a"), False),
        (ValueError(), False),
        (BaseExceptionGroup("g", [asyncio.CancelledError(), errors.CancelledError()]), True),
        (ExceptionGroup("g", [errors.CancelledError(), ValueError()]), False),
    ],
)
def test_what_counts_as_a_cancellation(error: BaseException, cancelled: bool) -> None:
    assert errors.is_cancelled_exception(error) is cancelled


def test_asyncios_cancellation_becomes_a_canceled_failure() -> None:
    failure = to_failure(asyncio.CancelledError(), CONVERTER)
    assert (failure.kind, failure.message) == ("canceled", "CancelledError")
