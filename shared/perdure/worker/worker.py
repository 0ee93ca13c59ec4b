"""The worker: a scheduler and an activity worker over the connection of a client."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, Self, TypedDict

from perdure.authoring.app import App
from perdure.client.client import Client
from perdure.core.durations import SECOND, duration
from perdure.core.errors import UnavailableError
from perdure.core.ids import check_id
from perdure.engine.activities.worker import ActivityWorker
from perdure.engine.scheduler.context import SchedulerOptions
from perdure.engine.scheduler.scheduler import Scheduler
from perdure.ports.errors import Unavailable
from perdure.worker.build import build_id as build_id_of
from perdure.worker.interrupts import listening
from perdure.worker.watchdog import Watchdog

_WITHOUT_MEANING: Final = frozenset(
    {
        "activity_task_poller_behavior",
        "build_id_based_versioning",
        "default_heartbeat_throttle_interval",
        "disable_eager_activity_execution",
        "disable_safe_workflow_eviction",
        "max_concurrent_activity_task_polls",
        "max_concurrent_local_activities",
        "max_concurrent_workflow_task_polls",
        "max_concurrent_workflow_tasks",
        "max_heartbeat_throttle_interval",
        "no_remote_activities",
        "nonsticky_to_sticky_poll_ratio",
        "sticky_queue_schedule_to_start_timeout",
        "unsandboxed_workflow_runner",
        "use_worker_versioning",
        # Every exception that leaves workflow code fails the workflow.
        "workflow_failure_exception_types",
        "workflow_runner",
        "workflow_task_executor",
        "workflow_task_poller_behavior",
    }
)

_NOT_YET: Final = frozenset(
    {
        "deployment_config",
        "interceptors",
        "max_activities_per_second",
        "max_task_queue_activities_per_second",
        "nexus_service_handlers",
        "on_fatal_error",
        "patch_activation_callback",
        "plugins",
        "shared_state_manager",
        "tuner",
    }
)

_logger = logging.getLogger("perdure.worker")


class WorkerConfig(TypedDict):
    """What a worker is made of."""

    client: Client
    task_queue: str
    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]
    activity_executor: Executor | None
    max_concurrent_activities: int
    max_cached_workflows: int
    graceful_shutdown_timeout: timedelta
    identity: str | None
    build_id: str | None
    turn_timeout: timedelta
    exit_on_stuck_turn: bool
    debug_mode: bool


class Worker:
    """Runs workflows, activities or both for one task queue.

    ``async with`` starts and stops it; :meth:`run` works until :meth:`shutdown` or an interrupt.
    Activities that are not async run in threads of the worker's own unless ``activity_executor`` is
    given. At a shutdown running activities have ``graceful_shutdown_timeout`` to end; those that
    don't are cancelled and go back to the queue. ``build_id`` names the workflow code (default: a
    hash of its source).

    A turn of workflow code that takes longer than ``turn_timeout`` (0: any) is logged with its stack,
    and :attr:`stuck` says so; with ``exit_on_stuck_turn`` the program ends with exit code 70, for
    whoever starts it again. Nothing more can be done from inside: C code that keeps the interpreter
    silences the watchdog too, and strikes are not counted. ``perdure scheduler`` has a supervisor
    outside. ``debug_mode`` turns the watchdog off.
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        workflows: Sequence[type] = (),
        activities: Sequence[Callable[..., Any]] = (),
        activity_executor: Executor | None = None,
        max_concurrent_activities: int | None = None,
        max_cached_workflows: int = 1_000,
        graceful_shutdown_timeout: timedelta = timedelta(0),
        identity: str | None = None,
        build_id: str | None = None,
        turn_timeout: timedelta = timedelta(seconds=2),
        exit_on_stuck_turn: bool = False,
        debug_mode: bool = False,
        **options: Any,
    ) -> None:
        if not workflows and not activities:
            raise ValueError("a worker needs at least one workflow or activity")
        if max_cached_workflows < 0:
            raise ValueError(f"max_cached_workflows must not be negative: {max_cached_workflows}")
        if max_concurrent_activities is not None and max_concurrent_activities < 1:
            raise ValueError(
                f"max_concurrent_activities must be at least 1, not {max_concurrent_activities}"
            )
        if isinstance(activity_executor, ProcessPoolExecutor):
            raise TypeError(
                "activity_executor must run threads: activities in processes are not supported"
            )
        grace = duration(graceful_shutdown_timeout, "graceful_shutdown_timeout")
        if grace < 0:
            raise ValueError("graceful_shutdown_timeout must not be negative")
        limit = duration(turn_timeout, "turn_timeout")
        if limit < 0:
            raise ValueError("turn_timeout must not be negative")
        _check_options(options)
        self._app = App(workflows=workflows, activities=activities)
        self._config = WorkerConfig(
            client=client,
            task_queue=check_id(task_queue, "task_queue"),
            workflows=list(workflows),
            activities=list(activities),
            activity_executor=activity_executor,
            max_concurrent_activities=100
            if max_concurrent_activities is None
            else max_concurrent_activities,
            max_cached_workflows=max_cached_workflows,
            graceful_shutdown_timeout=graceful_shutdown_timeout,
            identity=identity,
            build_id=build_id,
            turn_timeout=turn_timeout,
            exit_on_stuck_turn=exit_on_stuck_turn,
            debug_mode=debug_mode,
        )
        self._watchdog = (
            Watchdog(limit / SECOND, ends_process=exit_on_stuck_turn)
            if workflows and limit and not debug_mode
            else None
        )
        self._identity = identity or client.identity
        self._grace = grace
        self._build = build_id if build_id is not None else build_id_of(self._app.workflows)
        self._scheduler = self._make_scheduler() if workflows else None
        self._activity_worker = self._make_activity_worker() if activities else None
        self._started = False
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._running: AsyncExitStack | None = None

    def _make_scheduler(self) -> Scheduler:
        client = self.client
        return Scheduler(
            client.backend,
            self._app,
            converter=client.data_converter.payload_converter,
            options=SchedulerOptions(
                task_queue=self.task_queue,
                # Partitions are split among members: two of one name would both serve all.
                identity=f"{self._identity}-{uuid.uuid4().hex[:6]}",
                build=self._build,
                max_cached=self._config["max_cached_workflows"],
            ),
            watch=self._watchdog,
        )

    def _make_activity_worker(self) -> ActivityWorker:
        client = self.client
        return ActivityWorker(
            client.backend,
            self._app,
            task_queue=self.task_queue,
            converter=client.data_converter.payload_converter,
            max_concurrent=self._config["max_concurrent_activities"],
            executor=self._config["activity_executor"],
            identity=self._identity,
            graceful_shutdown_timeout=self._grace,
        )

    @property
    def client(self) -> Client:
        return self._config["client"]

    @property
    def task_queue(self) -> str:
        return self._config["task_queue"]

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def build_id(self) -> str:
        """The name of the workflow code; empty for a worker without workflows."""
        return self._build

    @property
    def is_running(self) -> bool:
        """Whether it takes work."""
        return self._running is not None and not self._stopping.is_set()

    @property
    def is_shutdown(self) -> bool:
        """Whether it has stopped."""
        return self._stopped.is_set()

    @property
    def stuck(self) -> str:
        """Which workflow's turn takes too long now; empty when none does. For the program's own
        health checks, from any thread."""
        return self._watchdog.trouble if self._watchdog is not None else ""

    def config(self) -> WorkerConfig:
        """What this worker is made of, for another one: ``Worker(**worker.config())``."""
        return self._config.copy()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    async def run(self) -> None:
        """Work until :meth:`shutdown`, or until this is cancelled or the process gets SIGINT or
        SIGTERM, which shut down too. A second signal cuts
        the grace short."""
        with listening(self):
            await self._start()
            try:
                await self._stopping.wait()
            finally:
                await self.shutdown()

    async def shutdown(self) -> None:
        """Take nothing new, let what runs end within its grace, hand the rest over. Idempotent."""
        running, self._running = self._running, None
        self._stopping.set()
        if running is None:
            if self._started:
                await self._stopped.wait()
            return
        try:
            await running.aclose()
        finally:
            self._stopped.set()

    def interrupt(self) -> None:
        """Stop soon, or, the second time, at once: what still runs then goes back to its queue."""
        if not self._stopping.is_set():
            _logger.info("interrupted: worker %s stops", self._identity)
            self._stopping.set()
        elif self._activity_worker is not None:
            self._activity_worker.hurry()

    async def _start(self) -> None:
        if self._started:
            raise RuntimeError("a worker starts only once: make another one")
        self._started = True
        async with AsyncExitStack() as parts:
            try:
                if self._watchdog is not None:
                    self._watchdog.start()
                    parts.callback(self._watchdog.stop)
                if self._scheduler is not None:
                    await parts.enter_async_context(self._scheduler)
                if self._activity_worker is not None:
                    # Leaves first: what its last activities bring, the scheduler still takes.
                    await parts.enter_async_context(self._activity_worker)
            except BaseException as error:
                self._stopped.set()
                if isinstance(error, Unavailable):
                    raise UnavailableError(f"the worker cannot start: {error}") from error
                raise
            self._running = parts.pop_all()


def _check_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if name in _NOT_YET:
            if value:
                raise TypeError(f"Worker() does not support {name} in this release")
        elif name in _WITHOUT_MEANING:
            _logger.debug("Worker(): %s has no meaning on NATS and is ignored", name)
        else:
            raise TypeError(f"Worker() got an unexpected keyword argument {name!r}")
