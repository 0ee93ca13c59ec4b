"""What workflow code may ask of whatever runs it.

The authoring API speaks to this interface, and finds it on the running event loop
(``loop.perdure_host``). perdure's machine implements it; so can another engine's worker, which is
how one file runs on both. Durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from perdure.core.definitions import ActivityDefinition
from perdure.core.info import Info
from perdure.core.payloads import PayloadConverter
from perdure.core.randomness import Random
from perdure.core.retry import DEFAULT_ACTIVITY_RETRY, RetryRule


class ActivityCancellationType(IntEnum):
    """What cancelling an activity's handle does: fail it at once and tell the worker; tell the
    worker and wait for its outcome; fail it at once and let the activity run."""

    TRY_CANCEL = 0
    WAIT_CANCELLATION_COMPLETED = 1
    ABANDON = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRequest:
    """How to schedule an activity, whatever its arguments; 0 means no such deadline. ``definition``
    is None for a bare name."""

    name: str
    definition: ActivityDefinition | None = None
    result_type: Any = Any
    task_queue: str | None = None
    activity_id: str | None = None
    schedule_to_close: int = 0
    schedule_to_start: int = 0
    start_to_close: int = 0
    heartbeat: int = 0
    retry: RetryRule = DEFAULT_ACTIVITY_RETRY
    cancellation: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL
    summary: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Host(Protocol):
    """The running workflow, as its code sees it. Methods that decide something raise
    ReadOnlyContextError inside a query."""

    @property
    def info(self) -> Info: ...

    @property
    def instance(self) -> Any:
        """The workflow object."""
        ...

    @property
    def converter(self) -> PayloadConverter: ...

    @property
    def is_replaying(self) -> bool: ...

    @property
    def is_read_only(self) -> bool: ...

    @property
    def random(self) -> Random:
        """Seeded by the run; the same draws on replay."""
        ...

    @property
    def cancellation_reason(self) -> str | None: ...

    @property
    def history_length(self) -> int:
        """Events and commands recorded so far."""
        ...

    @property
    def all_handlers_finished(self) -> bool:
        """Whether no signal handler is under way."""
        ...

    def now(self) -> int:
        """Log time of the event being applied."""
        ...

    def start_activity(self, request: ActivityRequest, args: Sequence[Any]) -> Awaitable[Any]:
        """An ``asyncio.Task`` that ends with the decoded result or an ActivityError."""
        ...

    async def sleep(self, duration: int, summary: str) -> None:
        """A durable timer; a duration of 0 or less returns at once, without one."""
        ...

    async def wait_condition(
        self, condition: Callable[[], bool], timeout: int | None, summary: str
    ) -> bool:
        """True once ``condition()`` holds, False when ``timeout`` passed first."""
        ...
