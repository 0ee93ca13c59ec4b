"""What workflow code may call while it runs. Everything goes to the host on the event loop."""

import asyncio
import inspect
import logging
import uuid as _uuid
from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any

from perdure.authoring.exceptions import NotInWorkflowError
from perdure.authoring.loggers import ContextLogger
from perdure.core import durations
from perdure.core.host import Host
from perdure.core.info import Info
from perdure.core.payloads import PayloadConverter


def _find_host() -> Host | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return getattr(loop, "perdure_host", None)


def current_host(function: str = "this function") -> Host:
    """The host of the workflow that is running. Raises NotInWorkflowError outside of one."""
    host = _find_host()
    if host is None:
        raise NotInWorkflowError(
            f"workflow.{function} works only inside a running workflow. Call it from the methods "
            "of a @workflow.defn class that a worker runs; in activities use perdure.activity, "
            "elsewhere the standard library."
        )
    return host


def nanoseconds_of(value: timedelta | float, field: str, *, positive: bool = False) -> int:
    """A duration argument in nanoseconds. Raises ValueError naming ``field`` if it is negative, or
    zero where it must be ``positive``."""
    result = durations.duration(value, field)
    if result < 0:
        raise ValueError(f"{field} cannot be negative, got {value!r}")
    if positive and result == 0:
        raise ValueError(f"{field} must be longer than zero; leave it out for no such limit")
    return result


def in_workflow() -> bool:
    """Whether the caller is workflow code that is running."""
    return _find_host() is not None


def info() -> Info:
    """What the running workflow knows of itself."""
    return current_host("info()").info


def instance() -> Any:
    """The object of the running workflow's class."""
    return current_host("instance()").instance


def get_current_history_length() -> int:
    """How many events and commands the run has recorded so far."""
    return current_host("get_current_history_length()").history_length


def all_handlers_finished() -> bool:
    """Whether no signal handler is under way; wait for it before ``run`` returns:
    ``await workflow.wait_condition(workflow.all_handlers_finished)``."""
    return current_host("all_handlers_finished()").all_handlers_finished


def cancellation_reason() -> str | None:
    """Why the workflow was asked to cancel: None before it was, "" if nobody said."""
    return current_host("cancellation_reason()").cancellation_reason


def payload_converter() -> PayloadConverter:
    """The converter of the worker that runs this workflow."""
    return current_host("payload_converter()").converter


def now() -> datetime:
    """The workflow's time, in UTC: the same on every replay."""
    return durations.to_datetime(current_host("now()").now())


def time() -> float:
    """The workflow's time in seconds since the epoch."""
    return current_host("time()").now() / durations.SECOND


def time_ns() -> int:
    """The workflow's time in nanoseconds since the epoch."""
    return current_host("time_ns()").now()


def random() -> Random:
    """A generator seeded by the run: the same draws on every replay."""
    return current_host("random()").random


def uuid4() -> _uuid.UUID:
    """A random UUID that is the same on every replay."""
    return _uuid.UUID(int=current_host("uuid4()").random.getrandbits(128), version=4)


async def sleep(duration: timedelta | float, *, summary: str | None = None) -> None:
    """Wait for a durable timer; the process may end meanwhile. A float counts seconds; nothing or
    less returns at once."""
    host = current_host("sleep()")
    await host.sleep(max(durations.duration(duration, "duration"), 0), summary or "")


async def async_sleep(duration: timedelta | float, *, summary: str | None = None) -> None:
    """The same as :func:`sleep`."""
    await sleep(duration, summary=summary)


async def wait_condition(
    fn: Callable[[], bool],
    *,
    timeout: timedelta | float | None = None,
    timeout_summary: str | None = None,
) -> bool:
    """Wait until ``fn()`` holds. True when it does, False when ``timeout`` passed first.

    (Temporal's SDK returns None and raises ``asyncio.TimeoutError`` instead.) Without a timeout no
    timer is recorded; a timeout of nothing or less is over at once.
    """
    host = current_host("wait_condition()")
    if not callable(fn) or inspect.iscoroutinefunction(fn):
        raise TypeError(
            f"wait_condition() takes a plain function that returns a bool, such as a lambda, not {fn!r}"
        )
    limit = None if timeout is None else max(durations.duration(timeout, "timeout"), 0)
    return await host.wait_condition(fn, limit, timeout_summary or "")


async def wait[F: asyncio.Future[Any]](
    fs: Iterable[F], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[list[F], list[F]]:
    """``asyncio.wait``, with the done and the pending as lists in the order of ``fs``."""
    tasks = list(dict.fromkeys(fs))
    done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=return_when)
    return [task for task in tasks if task in done], [task for task in tasks if task not in done]


def as_completed[T](
    fs: Iterable[Awaitable[T]], *, timeout: float | None = None
) -> Iterator[Awaitable[T]]:
    """``asyncio.as_completed``, which begins coroutines in the order of ``fs``."""
    tasks = [asyncio.ensure_future(one) for one in dict.fromkeys(fs)]
    return iter(asyncio.as_completed(tasks, timeout=timeout))


class unsafe:
    """What is only right for code that knows about replay."""

    @staticmethod
    @contextmanager
    def imports_passed_through() -> Generator[None]:
        """Do nothing: there is no import sandbox to pass through."""
        yield

    @staticmethod
    @contextmanager
    def sandbox_unrestricted() -> Generator[None]:
        """Do nothing: there is no sandbox."""
        yield

    @staticmethod
    def in_sandbox() -> bool:
        """False: there is no sandbox."""
        return False

    @staticmethod
    def is_replaying() -> bool:
        """Whether the code repeats what is already recorded."""
        return current_host("unsafe.is_replaying()").is_replaying

    @staticmethod
    def is_read_only() -> bool:
        """Whether the code answers a query, and may decide nothing."""
        return current_host("unsafe.is_read_only()").is_read_only


class WorkflowLogger(ContextLogger):
    """Silent on replay; says in message and ``extra`` which run a record comes from."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger)
        self.workflow_info_on_message = True
        self.workflow_info_on_extra = True
        self.full_workflow_info_on_extra = False
        self.log_during_replay = False

    def isEnabledFor(self, level: int) -> bool:
        """Also False on replay, unless ``log_during_replay`` is set."""
        if not self.logger.isEnabledFor(level):
            return False
        host = _find_host()
        return host is None or self.log_during_replay or not host.is_replaying

    def details(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        host = _find_host()
        if host is None:
            return {}, {}
        about = host.info
        ids: dict[str, Any] = {
            "attempt": about.attempt,
            "namespace": about.namespace,
            "run_id": about.run_id,
            "task_queue": about.task_queue,
            "workflow_id": about.workflow_id,
            "workflow_type": about.workflow_type,
        }
        extra: dict[str, Any] = {}
        if self.workflow_info_on_extra:
            extra |= {
                "workflow_id": about.workflow_id,
                "run_id": about.run_id,
                "perdure_workflow": ids,
                "temporal_workflow": ids,
            }
        if self.full_workflow_info_on_extra:
            extra["workflow_info"] = about
        return (ids if self.workflow_info_on_message else {}), extra


logger = WorkflowLogger(logging.getLogger("perdure.workflow"))
"""The logger for workflow code: each message once, whatever is replayed."""
