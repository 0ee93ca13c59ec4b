"""A workflow as ``describe`` shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import msgspec

from perdure.core.durations import to_datetime
from perdure.core.failures import Failure
from perdure.core.payloads import PayloadConverter
from perdure.core.state import StateEntry, Status, Strike


class WorkflowExecutionStatus(IntEnum):
    """How a run stands; names and values follow Temporal's."""

    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    CONTINUED_AS_NEW = 6
    TIMED_OUT = 7

    @classmethod
    def of(cls, status: Status) -> "WorkflowExecutionStatus":
        return cls[status.name]


class PendingActivity(msgspec.Struct, frozen=True, kw_only=True):
    """An activity that a run waits for. ``next_attempt_at`` is known while it backs off."""

    activity_id: str
    activity_type: str
    attempt: int = 1
    maximum_attempts: int = 0
    task_queue: str = ""
    scheduled_at: int = 0
    next_attempt_at: int = 0
    cancel_requested: bool = False
    last_failure: Failure | None = None


class PendingTimer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer that a run waits for; times are nanoseconds."""

    n: int
    due: int
    duration: int = 0
    purpose: str = "sleep"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a run says that it waits for."""

    ok: bool
    run: str = ""
    activities: list[PendingActivity] = []
    timers: list[PendingTimer] = []
    history_length: int = 0
    unhandled_signals: list[str] = []
    workers: dict[str, int] = {}


@dataclass(frozen=True, kw_only=True)
class WorkflowExecutionDescription:
    """One run. ``pending_*`` and ``history_length`` are what its owner said, empty when no
    scheduler answers; ``blocked`` says why a run that stands still does so."""

    id: str
    run_id: str
    workflow_type: str
    task_queue: str
    namespace: str
    status: WorkflowExecutionStatus
    start_time: datetime
    execution_time: datetime
    close_time: datetime | None = None
    execution_timeout: timedelta | None = None
    history_length: int = 0
    pending_activities: Sequence[PendingActivity] = ()
    pending_timers: Sequence[PendingTimer] = ()
    unhandled_signals: Sequence[str] = ()
    workers: Mapping[str, int] = field(default_factory=dict[str, int])
    """Live activity workers of each task queue that a pending activity is on."""
    blocked: str = ""
    strikes: Sequence[Strike] = ()
    """Processes that the run's code cost, newest last; three of one build quarantine it."""
    failure: Failure | None = None
    first_run_id: str = ""
    search_attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    memo_values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    async def memo(self) -> Mapping[str, Any]:
        return self.memo_values

    async def memo_value(self, key: str, default: Any = None) -> Any:
        return self.memo_values.get(key, default)


def describe_entry(
    entry: StateEntry,
    waiting: Waiting | None,
    *,
    namespace: str,
    converter: PayloadConverter,
    plain: PayloadConverter,
) -> WorkflowExecutionDescription:
    """The description of what STATE and the run's owner say. Search attributes are always
    ``plain`` JSON."""
    started = to_datetime(entry.started_at)
    timeout = entry.execution_timeout
    return WorkflowExecutionDescription(
        id=entry.workflow_id,
        run_id=entry.run,
        workflow_type=entry.workflow_type,
        task_queue=entry.task_queue,
        namespace=namespace,
        status=WorkflowExecutionStatus.of(entry.status),
        start_time=started,
        execution_time=started,
        close_time=to_datetime(entry.closed_at) if entry.closed_at else None,
        execution_timeout=timedelta(microseconds=timeout // 1_000) if timeout else None,
        history_length=waiting.history_length if waiting else entry.history_length,
        pending_activities=tuple(waiting.activities) if waiting else (),
        pending_timers=tuple(waiting.timers) if waiting else (),
        unhandled_signals=tuple(waiting.unhandled_signals) if waiting else (),
        workers=waiting.workers if waiting else {},
        blocked=entry.blocked,
        strikes=tuple(entry.strikes),
        failure=entry.failure,
        first_run_id=entry.first_run or entry.run,
        search_attributes={
            name: plain.from_payload(value) for name, value in entry.search_attributes.items()
        },
        memo_values={name: converter.from_payload(value) for name, value in entry.memo.items()},
    )
