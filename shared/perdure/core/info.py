"""What a workflow knows of itself. Fields and names follow Temporal's ``workflow.Info``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from perdure.core.durations import to_datetime, to_timedelta
from perdure.core.events import WorkflowStarted


@dataclass(frozen=True, kw_only=True)
class Info:
    """One run: constant from its first event on, but for what its methods say."""

    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    namespace: str
    start_time: datetime
    workflow_start_time: datetime
    attempt: int = 1
    continued_run_id: str | None = None
    cron_schedule: str | None = None
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta = timedelta(seconds=10)
    first_execution_run_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    memo: Mapping[str, Any] = field(default_factory=dict[str, Any])
    search_attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    history_length: Callable[[], int] = field(default=lambda: 0, repr=False, compare=False)

    def get_current_history_length(self) -> int:
        """How many events and commands the run has recorded so far."""
        return self.history_length()


def info_of(
    started: WorkflowStarted,
    timestamp: int,
    *,
    workflow_id: str,
    task_queue: str,
    namespace: str,
    history_length: Callable[[], int],
) -> Info:
    """What a run knows of itself from its start event, which stands in the log at ``timestamp``."""
    return Info(
        workflow_id=workflow_id,
        run_id=started.run,
        workflow_type=started.workflow_type,
        task_queue=task_queue,
        namespace=namespace,
        start_time=to_datetime(timestamp),
        workflow_start_time=to_datetime(timestamp),
        attempt=started.attempt,
        execution_timeout=to_timedelta(started.execution_timeout)
        if started.execution_timeout
        else None,
        run_timeout=to_timedelta(started.run_timeout) if started.run_timeout else None,
        first_execution_run_id=started.first_run or started.run,
        headers=started.headers,
        memo=started.memo,
        search_attributes=started.search_attributes,
        history_length=history_length,
    )
