"""``perdure.common``: small values that workflows, activities and clients share."""

from perdure.authoring.common import (
    Priority,
    RawValue,
    RetryPolicy,
    VersioningBehavior,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

__all__ = [
    "Priority",
    "RawValue",
    "RetryPolicy",
    "VersioningBehavior",
    "WorkflowIDConflictPolicy",
    "WorkflowIDReusePolicy",
]
