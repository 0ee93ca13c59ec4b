"""The exceptions of the public API, and those of calls made in the wrong place."""

from typing import ClassVar

from perdure.core.errors import (
    ActivityError,
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    InvalidInputError,
    NondeterminismError,
    PerdureError,
    ReadOnlyContextError,
    RetryState,
    SerializationError,
    ServerError,
    StoreFullError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowFailureError,
    WorkflowNotFoundError,
    WorkflowQueryFailedError,
    is_cancelled_exception,
)

TemporalError = PerdureError
"""The name that Temporal's SDK gives to the root of its errors."""


class NotInWorkflowError(PerdureError, RuntimeError):
    """A function of a running workflow was called by something else."""

    code: ClassVar[str] = "not_in_workflow"


class NotInActivityError(PerdureError, RuntimeError):
    """A function of a running activity was called by something else."""

    code: ClassVar[str] = "not_in_activity"


class NotRegisteredError(PerdureError, LookupError):
    """No workflow or activity of that name is registered here."""

    code: ClassVar[str] = "not_registered"

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


__all__ = [
    "ActivityError",
    "ApplicationError",
    "ApplicationErrorCategory",
    "CancelledError",
    "ChildWorkflowError",
    "FailureError",
    "InvalidInputError",
    "NondeterminismError",
    "NotInActivityError",
    "NotInWorkflowError",
    "NotRegisteredError",
    "PerdureError",
    "ReadOnlyContextError",
    "RetryState",
    "SerializationError",
    "ServerError",
    "StoreFullError",
    "TemporalError",
    "TerminatedError",
    "TimeoutError",
    "TimeoutType",
    "UnavailableError",
    "WorkflowAlreadyStartedError",
    "WorkflowFailureError",
    "WorkflowNotFoundError",
    "WorkflowQueryFailedError",
    "is_cancelled_exception",
]
