"""What every part of a scheduler shares: its ports, its code, its settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from perdure.core.definitions import WorkflowDefinition
from perdure.core.durations import DAY, MILLISECOND, MINUTE, SECOND
from perdure.core.payloads import PayloadConverter
from perdure.engine.payloads import PayloadStore
from perdure.engine.scheduler.observing import Observer
from perdure.engine.scheduler.purging import Purger
from perdure.engine.scheduler.short_timers import ShortTimers
from perdure.engine.scheduler.watch import TurnWatch
from perdure.ports.backend import Backend
from perdure.ports.errors import StoreFull

logger = logging.getLogger("perdure.scheduler")

_LOADS = 100
_CROWDS = 20
_MARKS = 50


class WorkflowRegistry(Protocol):
    """The workflow code that a scheduler has, by type name."""

    @property
    def workflows(self) -> Mapping[str, WorkflowDefinition]: ...


@dataclass(frozen=True, kw_only=True)
class SchedulerOptions:
    """Settings of one scheduler; durations in nanoseconds.

    ``build`` names the deployed workflow code: a run that it cannot go on with is blocked for this
    build alone. ``max_cached`` is how many runs stay in memory between events (0: none, so that
    every event replays its run).
    """

    task_queue: str = "default"
    identity: str = "scheduler"
    build: str = ""
    max_cached: int = 5_000
    credit: int = 1_000
    retention: int = 30 * DAY
    purge_grace: int = 5 * MINUTE
    defer: int = 50 * MILLISECOND
    """How long a record without commands may wait for company."""
    short_timer: int = SECOND
    """Timers due within this are also watched in memory, where the store would be coarse."""
    member_beat: int = 2 * SECOND
    member_ttl: int = 6 * SECOND


@dataclass(frozen=True, kw_only=True)
class Context:
    """One scheduler's shared parts."""

    backend: Backend
    registry: WorkflowRegistry
    converter: PayloadConverter
    payloads: PayloadStore
    options: SchedulerOptions
    short_timers: ShortTimers
    purger: Purger
    observer: Observer = field(default_factory=Observer)
    watch: TurnWatch | None = None
    refused: frozenset[str] = frozenset()
    """Closed runs whose code cost too many processes: their queries are not answered."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    sweep: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the sweeper."""
    was_full: asyncio.Event = field(default_factory=asyncio.Event)
    """The store had no room: timers that fell due meanwhile may be stuck."""
    loading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOADS))
    """Thousands of runs that wake together are read so many at a time: else their answers come later
    than anybody waits for them, and are all asked for again."""

    crowding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CROWDS))
    """Turns that perform many effects at once."""
    marking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MARKS))
    """Marks of long runs in STATE: none of them may delay what somebody waits for."""

    @property
    def first_record(self) -> float:
        """Seconds from a start's coming into memory within which an id's first record may go out:
        later the id may have been closed and purged, and nothing would refuse the record."""
        return self.options.purge_grace / SECOND / 2

    def met(self, error: BaseException) -> None:
        """The store said no; somebody will try again."""
        self.observer.failed(error)
        self.notice(error)

    def notice(self, error: BaseException) -> None:
        """Whatever the store refused for want of room, timers may be stuck by the same."""
        if isinstance(error, StoreFull):
            self.was_full.set()
            self.sweep.set()

    def background(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """Work that nobody waits for and that may fail: the log does not depend on it."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self.tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.notice(error)
            logger.warning("%s failed: %r", task.get_name(), error)
