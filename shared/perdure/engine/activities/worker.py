"""The activity worker: pulls tasks of one queue, runs them, and ends without losing any."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from os import getpid
from typing import Any, Final, Self

import msgspec

from perdure.authoring.flags import Flag
from perdure.core.durations import SECOND
from perdure.core.payloads import PayloadConverter
from perdure.engine.activities.attempt import GRACE, Attempt, Surroundings
from perdure.engine.activities.cancellation import Cancellations
from perdure.engine.activities.heartbeats import UNHURRIED
from perdure.engine.activities.intake import Activities, AttemptReport, Intake
from perdure.engine.activities.leases import LeaseKeeper
from perdure.engine.activities.outcomes import Outcomes
from perdure.engine.activities.retrying import Retrying
from perdure.engine.activities.threads import DaemonThreads
from perdure.engine.payloads import PayloadStore
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.ports.log import Subscription
from perdure.ports.tasks import TaskDelivery

BEAT_EVERY: Final = 5 * SECOND
_MEMBER_FOR: Final = 3 * BEAT_EVERY
_LAST_WORDS: Final = 10.0
"""Seconds beyond the grace in which outcomes may still reach the store at a shutdown."""
_logger = logging.getLogger("perdure.activities")


class WorkerWord(msgspec.Struct, frozen=True):
    """What a worker says of itself to the members of its queue."""

    started: int
    activities: list[str]
    running: int


class ActivityWorker:
    """Runs the activities of ``app`` for ``task_queue``, at most ``max_concurrent`` at a time.

    ``executor`` runs functions that are not async (default: threads of its own, as many as are
    needed). ``graceful_shutdown_timeout`` is the time in nanoseconds that running activities get
    to end at a shutdown; those that don't are cancelled and put back. ``on_attempt`` is called
    after each attempt, in the loop's thread.
    """

    def __init__(
        self,
        backend: Backend,
        app: Activities,
        *,
        task_queue: str,
        converter: PayloadConverter,
        max_concurrent: int = 100,
        executor: Executor | None = None,
        identity: str = "",
        graceful_shutdown_timeout: int = 0,
        max_heartbeat_throttle: int = UNHURRIED,
        payloads: PayloadStore | None = None,
        on_attempt: Callable[[AttemptReport], None] | None = None,
    ) -> None:
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, got {max_concurrent}")
        self.identity = identity or f"{getpid()}@{socket.gethostname()}"
        self.task_queue = task_queue
        self.abandoned = 0
        """Attempts whose code didn't end although it was cancelled."""
        self._backend = backend
        self._app = app
        self._max_concurrent = max_concurrent
        self._grace = graceful_shutdown_timeout / SECOND
        threads = executor or DaemonThreads(f"activity-{task_queue}")
        self._own_threads = threads if executor is None else None
        self._running: dict[tuple[str, int], Attempt] = {}
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._stopped = asyncio.Event()
        self._is_started = False
        self._started_at = 0
        self._subscription: Subscription | None = None
        self._handlers: set[asyncio.Task[Any]] = set()
        self._background: set[asyncio.Task[Any]] = set()
        self._report = on_attempt
        self._leases = LeaseKeeper(backend.lease, self._look_after_all)
        self._flag = Flag()
        around = Surroundings(
            backend=backend,
            payloads=payloads or PayloadStore(backend.blobs),
            converter=converter,
            executor=threads,
            identity=self.identity,
            worker_shutdown=self._flag,
            slowest_heartbeat=max_heartbeat_throttle,
        )
        self._intake, self._cancellations = self._compose(around)

    def _compose(self, around: Surroundings) -> tuple[Intake, Cancellations]:
        """The rooms that a delivery passes through."""
        outcomes = Outcomes(self._backend, around.payloads, identity=self.identity)
        retrying = Retrying(self._backend, around.payloads, outcomes)
        cancellations = Cancellations(
            self._backend,
            queue=self.task_queue,
            identity=self.identity,
            running=self._running,
            outcomes=outcomes,
            retrying=retrying,
            spawn=self._spawn,
            stopping=self._stopping,
        )
        intake = Intake(
            self._app,
            around,
            running=self._running,
            outcomes=outcomes,
            retrying=retrying,
            cancellations=cancellations,
            stopping=self._stopping,
            on_attempt=self._count,
        )
        return intake, cancellations

    # --------------------------------------------------------------- lifecycle

    @property
    def running(self) -> int:
        """Attempts in hand."""
        return len(self._running)

    @property
    def is_running(self) -> bool:
        return self._is_started and not self._stopping.is_set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    async def run(self) -> None:
        """Work until :meth:`shutdown` is called or this is cancelled, which shuts down too."""
        await self.start()
        try:
            await self._stopped.wait()
        finally:
            await self.shutdown()

    async def start(self) -> None:
        """Begin to take tasks. Raises Unavailable when the store is away."""
        if self._is_started:
            raise RuntimeError("an activity worker starts only once: make another one")
        self._is_started = True
        self._started_at = self._backend.clock.now()
        try:
            await self._cancellations.open()
            await self._beat()
            self._spawn(self._beat_on())
            self._spawn(self._leases.run())
            self._subscription = await self._backend.tasks.open(
                self.task_queue, self._on_delivery, credit=self._max_concurrent
            )
        except BaseException:
            await self.kill()
            raise

    async def shutdown(self) -> None:
        """Take nothing new, let what runs end, put back what doesn't. Idempotent."""
        if not self._is_started or self._stopping.is_set():
            if self._is_started:
                await self._stopped.wait()
            return
        self._stopping.set()
        try:
            await self._close_queue()
            self._flag.set()
            await self._grace_over()
            for attempt in list(self._running.values()):
                attempt.shut_down()
            await self._handled(GRACE + _LAST_WORDS)
            if self._handlers:
                _logger.warning("%d tasks are left to their leases", len(self._handlers))
        finally:
            await self._end()

    def hurry(self) -> None:
        """End the grace of a shutdown now: what still runs is cancelled and put back."""
        self._hurried.set()

    async def kill(self) -> None:
        """Stop as a crash would: nothing is reported, put back or said. Leases run out."""
        self._stopping.set()
        await self._end(quietly=True)

    async def _close_queue(self) -> None:
        if self._subscription is not None:
            try:
                await self._subscription.close()
            except PortError as error:
                _logger.warning("could not close the queue: %s", error)

    async def _grace_over(self) -> None:
        """What runs has ended, or its grace has."""
        loop = asyncio.get_running_loop()
        waiting = {
            loop.create_task(self._handled(self._grace)),
            loop.create_task(self._hurried.wait()),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _handled(self, seconds: float) -> None:
        if self._handlers and seconds > 0:
            await asyncio.wait(set(self._handlers), timeout=seconds)

    async def _end(self, *, quietly: bool = False) -> None:
        tasks = self._handlers | self._background
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._cancellations.close()
            if quietly:
                await self._close_queue()
            else:
                await self._backend.members.leave(("worker", self.task_queue), self.identity)
        except PortError as error:
            _logger.warning("could not say good-bye: %s", error)
        if self._own_threads is not None:
            self._own_threads.shutdown(wait=False)
        self._stopped.set()

    # ------------------------------------------------------------------- tasks

    def _on_delivery(self, delivery: TaskDelivery) -> None:
        self._backend.clock.observe(delivery.message.timestamp)
        held = self._leases.take(delivery)
        if held is None:
            return
        name = f"task {held.key.run}:{held.key.n}"
        handler = asyncio.get_running_loop().create_task(self._intake.handle(held), name=name)
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    def _look_after_all(self) -> None:
        """At each lease round: attempts that run for long may have lost their message."""
        before = asyncio.get_running_loop().time() - self._backend.lease / SECOND / 2
        old = [attempt for attempt in self._running.values() if attempt.started_at < before]
        if old:
            self._spawn(self._look_after(old))

    async def _look_after(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            if not attempt.settled.is_set():
                await self._cancellations.look_after(attempt)

    def _count(self, report: AttemptReport) -> None:
        self.abandoned += report.abandoned
        if self._report is not None:
            self._report(report)

    # ----------------------------------------------------------------- members

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY / SECOND)
            await self._beat()

    async def _beat(self) -> None:
        word = WorkerWord(
            started=self._started_at,
            activities=sorted(self._app.activity_names),
            running=self.running,
        )
        group, data = ("worker", self.task_queue), msgspec.json.encode(word)
        try:
            await self._backend.members.beat(group, self.identity, data, ttl=_MEMBER_FOR)
        except PortError as error:
            _logger.warning("could not say that worker %s lives: %s", self.identity, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a helper of worker %s failed", self.identity, exc_info=error)
