"""``perdure.workflow``: what workflows are written with."""

from perdure.authoring.exceptions import NondeterminismError, ReadOnlyContextError
from perdure.authoring.marks import HandlerUnfinishedPolicy
from perdure.authoring.scheduling import (
    ActivityConfig,
    execute_activity,
    execute_activity_class,
    execute_activity_method,
    start_activity,
    start_activity_class,
    start_activity_method,
)
from perdure.authoring.workflow import (
    WorkflowLogger,
    all_handlers_finished,
    as_completed,
    async_sleep,
    cancellation_reason,
    get_current_history_length,
    in_workflow,
    info,
    instance,
    logger,
    now,
    payload_converter,
    random,
    sleep,
    time,
    time_ns,
    unsafe,
    uuid4,
    wait,
    wait_condition,
)
from perdure.authoring.workflow_decorators import defn, init, query, run, signal
from perdure.core.host import ActivityCancellationType
from perdure.core.info import Info
from perdure.core.retry import RetryPolicy

LoggerAdapter = WorkflowLogger
"""The class of :data:`logger`, under the name that Temporal's SDK gives it."""

__all__ = [
    "ActivityCancellationType",
    "ActivityConfig",
    "HandlerUnfinishedPolicy",
    "Info",
    "LoggerAdapter",
    "NondeterminismError",
    "ReadOnlyContextError",
    "RetryPolicy",
    "all_handlers_finished",
    "as_completed",
    "async_sleep",
    "cancellation_reason",
    "defn",
    "execute_activity",
    "execute_activity_class",
    "execute_activity_method",
    "get_current_history_length",
    "in_workflow",
    "info",
    "init",
    "instance",
    "logger",
    "now",
    "payload_converter",
    "query",
    "random",
    "run",
    "signal",
    "sleep",
    "start_activity",
    "start_activity_class",
    "start_activity_method",
    "time",
    "time_ns",
    "unsafe",
    "uuid4",
    "wait",
    "wait_condition",
]
