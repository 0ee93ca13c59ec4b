"""Every exception that workflow code, activities and clients see.

PerdureError                        .code: a machine-readable word; .cause: __cause__
 ├ FailureError                     raised in a workflow it fails the workflow; crosses processes
 │  ├ ApplicationError              what user code raised: type, details, non_retryable, next_retry_delay
 │  ├ CancelledError                a cancellation that came from outside
 │  ├ TerminatedError               the workflow was terminated
 │  ├ TimeoutError                  a deadline passed: START_TO_CLOSE, SCHEDULE_TO_START, …
 │  ├ ServerError                   perdure itself gave up: oversized result, unsupported request
 │  ├ ActivityError                 an activity failed for good; the cause says why
 │  ├ ChildWorkflowError            a child workflow did not complete; the cause says why
 │  └ WorkflowAlreadyStartedError   the workflow id is taken by a run that is still open
 ├ SerializationError               a value cannot be encoded, or bytes do not fit the type
 ├ WorkflowFailureError             what awaiting a result raises; the cause says how the run ended
 ├ WorkflowNotFoundError            no such workflow, or it is closed
 ├ WorkflowQueryFailedError         the query raised, or nobody could answer
 ├ InvalidInputError                a request that can never work: names the field and the limit
 ├ NondeterminismError              the code no longer fits the history: the run is blocked, not failed
 ├ ReadOnlyContextError             a query or validator tried to decide something
 └ UnavailableError                 the store cannot be reached or refuses: nothing is known to be wrong
    └ StoreFullError                the store has no room (for anything, or for new workflows)

The texts say what happened and what to do. Names and fields follow Temporal's Python SDK.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Any, ClassVar, Self, cast


class PerdureError(Exception):
    """The root of every error that perdure raises on purpose."""

    code: ClassVar[str] = "internal"

    @property
    def cause(self) -> BaseException | None:
        """The same as ``__cause__``."""
        return self.__cause__


class FailureError(PerdureError):
    """A failure that is recorded in the log and keeps its meaning across processes."""

    code: ClassVar[str] = "failure"

    def __init__(self, message: str, *, stack_trace: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.stack_trace = stack_trace

    @property
    def failure(self) -> Self:
        """The error itself: what Temporal's SDK keeps apart has its ``message`` and ``stack_trace``."""
        return self


class ApplicationErrorCategory(IntEnum):
    """BENIGN errors are expected: they are not logged as errors."""

    UNSPECIFIED = 0
    BENIGN = 1


class ApplicationError(FailureError):
    """An error of user code. Its text is ``type: message`` when a type is given."""

    code: ClassVar[str] = "application"

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
        stack_trace: str = "",
    ) -> None:
        super().__init__(message, stack_trace=stack_trace)
        self.details: Sequence[Any] = details
        self.type = type
        self.non_retryable = non_retryable
        self.next_retry_delay = next_retry_delay
        self.category = category

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.type else self.message


class CancelledError(FailureError):
    """Something was cancelled from outside (not ``asyncio.CancelledError``)."""

    code: ClassVar[str] = "canceled"

    def __init__(self, message: str = "Cancelled", *details: Any) -> None:
        super().__init__(message)
        self.details: Sequence[Any] = details


class TerminatedError(FailureError):
    """The workflow was terminated: its code got no chance to clean up."""

    code: ClassVar[str] = "terminated"

    def __init__(self, message: str = "Workflow terminated", *details: Any) -> None:
        super().__init__(message)
        self.details: Sequence[Any] = details


class TimeoutType(IntEnum):
    """Which deadline passed."""

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class TimeoutError(FailureError):
    """A deadline passed. ``type`` is None for a workflow's own timeout."""

    code: ClassVar[str] = "timeout"

    def __init__(
        self,
        message: str,
        *,
        type: TimeoutType | None = None,
        last_heartbeat_details: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.type = type
        self.last_heartbeat_details = last_heartbeat_details


class ServerError(FailureError):
    """perdure gave up on something that it cannot do."""

    code: ClassVar[str] = "server"

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self.non_retryable = non_retryable


class RetryState(IntEnum):
    """Why there was no further attempt."""

    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    INTERNAL_SERVER_ERROR = 6
    CANCEL_REQUESTED = 7


class ActivityError(FailureError):
    """An activity failed for good: ``cause`` is the last attempt's failure."""

    code: ClassVar[str] = "activity"

    def __init__(
        self,
        message: str,
        *,
        scheduled_event_id: int = 0,
        started_event_id: int = 0,
        identity: str = "",
        activity_type: str = "",
        activity_id: str = "",
        attempt: int = 0,
        retry_state: RetryState | None = None,
    ) -> None:
        super().__init__(message)
        self.scheduled_event_id = scheduled_event_id
        self.started_event_id = started_event_id
        self.identity = identity
        self.activity_type = activity_type
        self.activity_id = activity_id
        self.attempt = attempt
        self.retry_state = retry_state


class ChildWorkflowError(FailureError):
    """A child workflow did not complete: ``cause`` says how it ended."""

    code: ClassVar[str] = "child_workflow"

    def __init__(
        self,
        message: str,
        *,
        namespace: str = "",
        workflow_id: str = "",
        run_id: str = "",
        workflow_type: str = "",
        initiated_event_id: int = 0,
        started_event_id: int = 0,
        retry_state: RetryState | None = None,
    ) -> None:
        super().__init__(message)
        self.namespace = namespace
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.workflow_type = workflow_type
        self.initiated_event_id = initiated_event_id
        self.started_event_id = started_event_id
        self.retry_state = retry_state


class WorkflowAlreadyStartedError(FailureError):
    """The id belongs to a run that the id policies do not let you replace."""

    code: ClassVar[str] = "already_started"

    def __init__(self, workflow_id: str, workflow_type: str, *, run_id: str | None = None) -> None:
        super().__init__(
            f"Workflow execution already started: id {workflow_id!r}, run {run_id}. "
            "Use another id, wait for that run, or choose an id_conflict_policy/id_reuse_policy."
        )
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.run_id = run_id


class SerializationError(PerdureError):
    """A value cannot be written as a payload, or a payload does not fit the type asked for."""

    code: ClassVar[str] = "serialization"


class WorkflowFailureError(PerdureError):
    """The workflow ended without a result: ``cause`` is an ApplicationError, CancelledError,
    TerminatedError, TimeoutError, ActivityError or ChildWorkflowError."""

    code: ClassVar[str] = "workflow_failure"

    def __init__(self, *, cause: BaseException, message: str = "Workflow execution failed") -> None:
        super().__init__(f"{message}: {cause}")
        self.__cause__ = cause


class WorkflowNotFoundError(PerdureError):
    """No workflow of that id (and run), or it is closed and the request needs an open one."""

    code: ClassVar[str] = "not_found"

    def __init__(self, workflow_id: str, reason: str = "workflow execution not found") -> None:
        super().__init__(f"{reason}: id {workflow_id!r}")
        self.workflow_id = workflow_id
        self.reason = reason


class WorkflowQueryFailedError(PerdureError):
    """The query handler raised, the query is unknown, or no scheduler answered in time."""

    code: ClassVar[str] = "query_failed"


class InvalidInputError(PerdureError, ValueError):
    """A request that can never succeed; ``field`` names what is wrong with it."""

    code: ClassVar[str] = "invalid_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NondeterminismError(PerdureError):
    """Replaying the history gave another command than the recorded one.

    The run is blocked, not failed: deploy code that fits its history (the old code, or new code
    behind a patch) and it goes on.
    """

    code: ClassVar[str] = "nondeterminism"

    def __init__(
        self, message: str, *, event: int = 0, expected: str = "", actual: str = ""
    ) -> None:
        super().__init__(message)
        self.event = event
        self.expected = expected
        self.actual = actual


class ReadOnlyContextError(PerdureError):
    """A query tried to decide something: schedule, sleep, signal, wait."""

    code: ClassVar[str] = "read_only"


class UnavailableError(PerdureError):
    """The store could not be reached, or refused, within the time given. Try again."""

    code: ClassVar[str] = "unavailable"


class StoreFullError(UnavailableError):
    """The store has no room, or none for new workflows. Nothing was stored; make room, then try
    again."""

    code: ClassVar[str] = "store_full"


def is_cancelled_exception(error: BaseException) -> bool:
    """Whether ``error`` is a cancellation, an activity or child error caused by one, or a group of
    nothing else (what a TaskGroup makes of several)."""
    if isinstance(error, CancelledError):
        return True
    if isinstance(error, ActivityError | ChildWorkflowError):
        return isinstance(error.cause, CancelledError)
    if isinstance(error, BaseExceptionGroup):
        return all(
            is_cancelled_exception(one)
            for one in cast("BaseExceptionGroup[BaseException]", error).exceptions
        )
    # asyncio.CancelledError is concurrent.futures' on the way in; its name is enough here, since
    # the core may not import asyncio.
    return any(
        c.__name__ == "CancelledError" and c.__module__.startswith(("asyncio", "concurrent"))
        for c in type(error).__mro__
    )
