"""``perdure.client``: start workflows, speak to them, await them.

May live here: checking of arguments, the shape of answers, how to reach a namespace. What starting
and delivering mean stands in the engine. Names follow Temporal's Python SDK.
"""

from perdure.authoring.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.client.client import Client
from perdure.client.description import (
    PendingActivity,
    PendingTimer,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from perdure.client.handle import WorkflowHandle
from perdure.client.histories import WorkflowHistory
from perdure.core.errors import (
    InvalidInputError,
    StoreFullError,
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowFailureError,
    WorkflowNotFoundError,
    WorkflowQueryFailedError,
)

__all__ = [
    "Client",
    "InvalidInputError",
    "PendingActivity",
    "PendingTimer",
    "StoreFullError",
    "UnavailableError",
    "WorkflowAlreadyStartedError",
    "WorkflowExecutionDescription",
    "WorkflowExecutionStatus",
    "WorkflowFailureError",
    "WorkflowHandle",
    "WorkflowHistory",
    "WorkflowIDConflictPolicy",
    "WorkflowIDReusePolicy",
    "WorkflowNotFoundError",
    "WorkflowQueryFailedError",
]
