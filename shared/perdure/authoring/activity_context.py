"""What surrounds a running activity: the contract between activity code and its runner.

A runner builds one :class:`ActivityContext` per attempt, enters :meth:`ActivityContext.activate`,
and calls the function inside: in a task of its own for an async activity, in a thread for a sync
one. When the attempt is cancelled it calls :meth:`ActivityContext.cancel`, and for an async
activity cancels the task as well.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from perdure.authoring.common import Priority
from perdure.authoring.exceptions import NotInActivityError
from perdure.authoring.flags import Flag
from perdure.authoring.thread_cancellation import ThreadCancellation
from perdure.core.payloads import PayloadConverter
from perdure.core.retry import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class Info:
    """One attempt of an activity. Fields and names follow Temporal's ``activity.Info``.

    ``idempotency_key`` is the same for every attempt: give it to what the activity calls, so that a
    repeated attempt has no second effect.
    """

    activity_id: str
    activity_type: str
    attempt: int
    current_attempt_scheduled_time: datetime
    heartbeat_details: Sequence[Any] = ()
    heartbeat_timeout: timedelta | None = None
    idempotency_key: str
    is_local: bool = False
    namespace: str
    priority: Priority = Priority.default
    retry_policy: RetryPolicy | None = None
    schedule_to_close_timeout: timedelta | None = None
    scheduled_time: datetime
    start_to_close_timeout: timedelta | None = None
    started_time: datetime
    task_queue: str
    task_token: bytes = b""
    workflow_id: str
    workflow_namespace: str
    workflow_run_id: str
    workflow_type: str
    activity_run_id: str | None = None

    @property
    def in_workflow(self) -> bool:
        """True: every activity belongs to a workflow."""
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivityCancellationDetails:
    """Why an activity is cancelled."""

    not_found: bool = False
    cancel_requested: bool = False
    paused: bool = False
    timed_out: bool = False
    worker_shutdown: bool = False
    reset: bool = False


class ActivityContext:
    """The surroundings of one attempt.

    ``on_heartbeat`` gets the details of a heartbeat as a tuple, possibly empty, in the thread that
    the activity runs in: it must be quick, thread-safe, and is the place to throttle. ``describe``
    gives the attempt's Info, once it is asked for. ``worker_shutdown`` may be shared by all contexts
    of a worker. ``thread_cancellation`` is given for sync activities in threads, unless the
    definition says ``no_thread_cancel_exception``.
    """

    def __init__(
        self,
        *,
        describe: Callable[[], Info],
        converter: PayloadConverter,
        on_heartbeat: Callable[[tuple[Any, ...]], None],
        worker_shutdown: Flag | None = None,
        thread_cancellation: ThreadCancellation | None = None,
    ) -> None:
        self._describe = describe
        self.converter = converter
        self.on_heartbeat = on_heartbeat
        self.cancelled = Flag()
        self.worker_shutdown = worker_shutdown or Flag()
        self.thread_cancellation = thread_cancellation
        self.cancellation_details: ActivityCancellationDetails | None = None

    @cached_property
    def info(self) -> Info:
        return self._describe()

    @contextmanager
    def activate(self) -> Generator[None]:
        """Make this the context of the current task or thread. Inside, a thread cancellation may
        raise CancelledError."""
        token = _current.set(self)
        try:
            if self.thread_cancellation is None:
                yield
            else:
                with self.thread_cancellation.running():
                    yield
        finally:
            _current.reset(token)

    def cancel(self, details: ActivityCancellationDetails) -> None:
        """Tell the activity that it is cancelled. Any thread may call; the first call counts."""
        if self.cancelled.is_set():
            return
        self.cancellation_details = details
        self.cancelled.set()
        if self.thread_cancellation is not None:
            self.thread_cancellation.cancel()


_current: ContextVar[ActivityContext] = ContextVar("perdure_activity")


def find_context() -> ActivityContext | None:
    return _current.get(None)


def current_context(function: str) -> ActivityContext:
    """The context of the running activity. Raises NotInActivityError outside of one."""
    context = _current.get(None)
    if context is None:
        raise NotInActivityError(
            f"activity.{function} works only inside a running activity. A thread that an "
            "activity starts belongs to it through contextvars.copy_context().run(...)."
        )
    return context
