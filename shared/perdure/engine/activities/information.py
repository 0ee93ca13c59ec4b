"""``activity.info()`` from a task."""

import logging
from functools import lru_cache
from typing import Any

from perdure.authoring.activity_context import Info
from perdure.core.durations import to_datetime, to_timedelta
from perdure.core.errors import PerdureError
from perdure.core.payloads import PayloadConverter
from perdure.core.retry import RetryPolicy, RetryRule
from perdure.core.tasks import ActivityTask
from perdure.ports.addresses import Stored
from perdure.ports.backend import Backend

_logger = logging.getLogger("perdure.activities")


def idempotency_key(task: ActivityTask) -> str:
    """The same for all attempts of an activity, and for no other activity."""
    return f"{task.run}:{task.n}"


def info_of(
    task: ActivityTask,
    backend: Backend,
    converter: PayloadConverter,
    message: Stored,
    *,
    started_at: int,
) -> Info:
    """What ``task`` says of itself. Its payloads are restored ones."""
    return Info(
        activity_id=task.activity_id,
        activity_type=task.activity_type,
        attempt=task.attempt,
        current_attempt_scheduled_time=to_datetime(message.timestamp + task.delay),
        heartbeat_details=_details(task, converter),
        heartbeat_timeout=to_timedelta(task.heartbeat) if task.heartbeat else None,
        idempotency_key=idempotency_key(task),
        namespace=backend.namespace,
        retry_policy=_policy(task.retry),
        schedule_to_close_timeout=(
            to_timedelta(task.schedule_to_close) if task.schedule_to_close else None
        ),
        scheduled_time=to_datetime(task.scheduled_at or message.timestamp),
        start_to_close_timeout=to_timedelta(task.start_to_close) if task.start_to_close else None,
        started_time=to_datetime(started_at),
        task_queue=task.task_queue,
        task_token=f"{task.run}:{task.n}:{task.attempt}".encode(),
        workflow_id=task.workflow_id,
        workflow_namespace=backend.namespace,
        workflow_run_id=task.run,
        workflow_type=task.workflow_type,
    )


def _details(task: ActivityTask, converter: PayloadConverter) -> list[Any]:
    try:
        return [converter.from_payload(detail) for detail in task.heartbeat_details]
    except PerdureError as error:
        _logger.warning("the heartbeat details of %s do not decode: %s", task.activity_id, error)
        return []


@lru_cache(maxsize=256)
def _policy(rule: RetryRule) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=to_timedelta(rule.initial_interval),
        backoff_coefficient=rule.backoff_coefficient,
        maximum_interval=to_timedelta(rule.maximum_interval) if rule.maximum_interval else None,
        maximum_attempts=rule.maximum_attempts,
        non_retryable_error_types=rule.non_retryable_error_types or None,
        jitter=rule.jitter,
    )
