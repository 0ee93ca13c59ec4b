"""``perdure.activity``: what activities are written with."""

from perdure.authoring.activity import (
    ActivityLogger,
    cancellation_details,
    heartbeat,
    in_activity,
    info,
    is_cancelled,
    is_worker_shutdown,
    logger,
    payload_converter,
    shield_thread_cancel_exception,
    wait_for_cancelled,
    wait_for_cancelled_sync,
    wait_for_worker_shutdown,
    wait_for_worker_shutdown_sync,
)
from perdure.authoring.activity_context import ActivityCancellationDetails, Info
from perdure.authoring.activity_decorators import defn

LoggerAdapter = ActivityLogger
"""The class of :data:`logger`, under the name that Temporal's SDK gives it."""

__all__ = [
    "ActivityCancellationDetails",
    "Info",
    "LoggerAdapter",
    "cancellation_details",
    "defn",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "is_worker_shutdown",
    "logger",
    "payload_converter",
    "shield_thread_cancel_exception",
    "wait_for_cancelled",
    "wait_for_cancelled_sync",
    "wait_for_worker_shutdown",
    "wait_for_worker_shutdown_sync",
]
