"""What activity code may call while it runs. Everything goes to the current ActivityContext."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from perdure.authoring.activity_context import (
    ActivityCancellationDetails,
    Info,
    current_context,
    find_context,
)
from perdure.authoring.loggers import ContextLogger
from perdure.core.durations import SECOND, duration
from perdure.core.payloads import PayloadConverter


def in_activity() -> bool:
    """Whether the caller is an activity that is running."""
    return find_context() is not None


def info() -> Info:
    """What the running activity knows of itself: ids, attempt, timeouts, heartbeat details."""
    return current_context("info()").info


def payload_converter() -> PayloadConverter:
    """The converter of the worker that runs this activity."""
    return current_context("payload_converter()").converter


def heartbeat(*details: Any) -> None:
    """Say that the activity is alive. The next attempt finds the last ``details`` in
    ``activity.info().heartbeat_details``; calls may be frequent, they are throttled."""
    current_context("heartbeat()").on_heartbeat(details)


def is_cancelled() -> bool:
    """Whether the activity was asked to stop."""
    return current_context("is_cancelled()").cancelled.is_set()


async def wait_for_cancelled() -> None:
    """Wait until the activity is asked to stop."""
    await current_context("wait_for_cancelled()").cancelled.wait()


def wait_for_cancelled_sync(timeout: timedelta | float | None = None) -> None:
    """Block until the activity is asked to stop, or ``timeout`` passed."""
    current_context("wait_for_cancelled_sync()").cancelled.wait_sync(_seconds(timeout))


def cancellation_details() -> ActivityCancellationDetails | None:
    """Why the activity was asked to stop; None while it was not."""
    return current_context("cancellation_details()").cancellation_details


def is_worker_shutdown() -> bool:
    """Whether the worker is shutting down."""
    return current_context("is_worker_shutdown()").worker_shutdown.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait until the worker shuts down."""
    await current_context("wait_for_worker_shutdown()").worker_shutdown.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """Block until the worker shuts down, or ``timeout`` passed; see :func:`is_worker_shutdown`."""
    current_context("wait_for_worker_shutdown_sync()").worker_shutdown.wait_sync(_seconds(timeout))


@contextmanager
def shield_thread_cancel_exception() -> Generator[None]:
    """Put the CancelledError of a sync activity's thread off to the end of the block."""
    cancellation = current_context("shield_thread_cancel_exception()").thread_cancellation
    if cancellation is None:
        yield
    else:
        with cancellation.shield():
            yield


def _seconds(timeout: timedelta | float | None) -> float | None:
    if timeout is None:
        return None
    nanoseconds = duration(timeout, "timeout")
    if nanoseconds < 0:
        raise ValueError(f"timeout cannot be negative, got {timeout!r}")
    return nanoseconds / SECOND


class ActivityLogger(ContextLogger):
    """Says in message and ``extra`` which attempt of which activity a record comes from."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger)
        self.activity_info_on_message = True
        self.activity_info_on_extra = True
        self.full_activity_info_on_extra = False

    def details(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        context = find_context()
        if context is None:
            return {}, {}
        about = context.info
        ids: dict[str, Any] = {
            "activity_id": about.activity_id,
            "activity_type": about.activity_type,
            "attempt": about.attempt,
            "namespace": about.namespace,
            "task_queue": about.task_queue,
            "workflow_id": about.workflow_id,
            "workflow_run_id": about.workflow_run_id,
            "workflow_type": about.workflow_type,
        }
        extra: dict[str, Any] = {}
        if self.activity_info_on_extra:
            extra |= {
                "workflow_id": about.workflow_id,
                "run_id": about.workflow_run_id,
                "perdure_activity": ids,
                "temporal_activity": ids,
            }
        if self.full_activity_info_on_extra:
            extra["activity_info"] = about
        return (ids if self.activity_info_on_message else {}), extra


logger = ActivityLogger(logging.getLogger("perdure.activity"))
"""The logger for activity code."""
