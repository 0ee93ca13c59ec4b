"""Small values that workflows, activities and clients share."""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from perdure.core.payloads import Payload
from perdure.core.retry import RetryPolicy


class WorkflowIDReusePolicy(IntEnum):
    """What a start does when the id belongs to a run that is closed."""

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3
    TERMINATE_IF_RUNNING = 4


class WorkflowIDConflictPolicy(IntEnum):
    """What a start does when the id belongs to a run that is open; UNSPECIFIED means FAIL."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2
    TERMINATE_EXISTING = 3


class VersioningBehavior(IntEnum):
    """How a run follows new builds. Accepted for programs that set it; perdure blocks a run whose
    code no longer fits its history, and lets any build that fits go on."""

    UNSPECIFIED = 0
    PINNED = 1
    AUTO_UPGRADE = 2


@dataclass(frozen=True, slots=True)
class RawValue:
    """A payload that converters pass through undecoded."""

    payload: Payload


@dataclass(frozen=True, slots=True)
class Priority:
    """Temporal's order within a task queue; perdure's queues are first in first out."""

    priority_key: int | None = None
    fairness_key: str | None = None
    fairness_weight: float | None = None

    default: ClassVar["Priority"]


Priority.default = Priority()

__all__ = [
    "Priority",
    "RawValue",
    "RetryPolicy",
    "VersioningBehavior",
    "WorkflowIDConflictPolicy",
    "WorkflowIDReusePolicy",
]
