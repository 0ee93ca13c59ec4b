"""Leads one delivery from the queue to its end: too early, no longer wanted, lost, or run."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from perdure.core.definitions import ActivityDefinition
from perdure.core.durations import SECOND
from perdure.core.failures import Failure
from perdure.core.tasks import ActivityTask, decode_task
from perdure.engine.activities.attempt import Attempt, Ended, EndKind, Surroundings
from perdure.engine.activities.cancellation import Cancellations
from perdure.engine.activities.deadlines import lost_worker_failure, overdue, timeout_failure
from perdure.engine.activities.heartbeats import Beat, last_beat
from perdure.engine.activities.insistence import insist
from perdure.engine.activities.leases import Held, LeaseLost
from perdure.engine.activities.outcomes import Outcomes
from perdure.engine.activities.retrying import Retrying
from perdure.engine.activities.verification import is_doubtful, still_counts

TASK_FORMAT: Final = 1
_LEAVE_TO_NEWER: Final = 5 * SECOND
_logger = logging.getLogger("perdure.activities")


class Activities(Protocol):
    """What a worker can run."""

    def activity(self, name: str) -> ActivityDefinition:
        """Raises LookupError saying what there is instead."""
        ...

    @property
    def activity_names(self) -> Iterable[str]: ...


class AttemptReport(msgspec.Struct, frozen=True, kw_only=True):
    """For metrics: an attempt ended. Times in nanoseconds; ``waited`` is from due to begun."""

    activity_type: str
    task_queue: str
    attempt: int
    outcome: EndKind
    duration: int
    waited: int
    failure: Failure | None = None
    abandoned: bool = False


class Intake:
    """Handles the deliveries of one worker."""

    def __init__(
        self,
        app: Activities,
        around: Surroundings,
        *,
        running: dict[tuple[str, int], Attempt],
        outcomes: Outcomes,
        retrying: Retrying,
        cancellations: Cancellations,
        stopping: asyncio.Event,
        on_attempt: Callable[[AttemptReport], None] | None,
    ) -> None:
        self._app = app
        self._around = around
        self._backend = around.backend
        self._running = running
        self._outcomes = outcomes
        self._retrying = retrying
        self._cancellations = cancellations
        self._stopping = stopping
        self._on_attempt = on_attempt

    async def handle(self, held: Held) -> None:
        """Settle ``held``, or leave it to its lease when it can't be. Never raises an Exception."""
        try:
            await self._handle(held)
        except LeaseLost as error:
            _logger.warning("left a task to others: %s", error)
            held.drop()
        except Exception:
            _logger.exception("could not handle task %s; its lease runs out", held.key)
            held.drop()

    async def _handle(self, held: Held) -> None:
        try:
            task = decode_task(held.message.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            await self._outcomes.garbage(held, f"not an activity task: {error}")
            return
        if task.format > TASK_FORMAT:
            _logger.warning("task %s is of a newer build: left to its workers", held.key)
            held.nak(_LEAVE_TO_NEWER)
        elif task.cancel:
            await self._cancellations.settle(held, task)
        elif (early := self._remaining_delay(held, task)) > 0:
            held.nak(early)
        elif self._stopping.is_set():
            await self._retrying.put_back(held, task, task.heartbeat_details)
        else:
            await self._begin(held, task)

    def _remaining_delay(self, held: Held, task: ActivityTask) -> int:
        if not task.delay:
            return 0
        return held.message.timestamp + task.delay - self._backend.clock.now()

    async def _begin(self, held: Held, task: ActivityTask) -> None:
        if not await self._displace(held, task):
            held.ack()
            return
        if is_doubtful(held, task):
            if not await still_counts(self._backend, held, task):
                held.ack()
                return
            beat = await self._last_beat(held) if held.attempt > 1 else None
            if beat is not None:
                task = msgspec.structs.replace(task, heartbeat_details=beat.details)
            if self._is_orphaned(held, task, beat):
                await self._fail(held, task, lost_worker_failure(task, task.heartbeat_details))
                return
        now = self._backend.clock.now()
        passed = overdue(task, published=held.message.timestamp, now=now)
        if passed is not None:
            last, details = task.last_failure, task.heartbeat_details
            await self._fail(held, task, timeout_failure(passed, details=details, cause=last))
            return
        try:
            definition = self._app.activity(task.activity_type)
        except LookupError as error:
            # Another worker of the queue may know it: the retry policy decides.
            unknown = Failure(message=str(error), type="NotFoundError")
            await self._fail(held, task, unknown)
            return
        if task.schedule_to_start:
            await self._outcomes.started(held, task)
        await self._run(held, task, definition)

    async def _displace(self, held: Held, task: ActivityTask) -> bool:
        """End an older attempt of the activity that still runs here: never two at once. False when
        the one that runs is newer: ``held`` was replaced, and came late."""
        present = self._running.get((task.run, task.n))
        if present is None:
            return True
        if present.held.message.seq > held.message.seq:
            return False
        present.drop()
        await present.settled.wait()
        return True

    async def _last_beat(self, held: Held) -> Beat | None:
        return await insist(
            held,
            "read a heartbeat",
            lambda: last_beat(self._backend.heartbeats, held.key, held.message.seq),
        )

    def _is_orphaned(self, held: Held, task: ActivityTask, beat: Beat | None) -> bool:
        """Whether an earlier holder died running this attempt.

        A delayed attempt is handed back before its time without having begun: only a beat tells
        that somebody had.
        """
        if held.attempt <= 1 or (task.delay and beat is None):
            return False
        due = held.message.timestamp + task.delay
        # Not the whole lease: our clock is behind the store's by as long as a message takes.
        return self._backend.clock.now() >= due + self._backend.lease * 9 // 10

    async def _run(self, held: Held, task: ActivityTask, definition: ActivityDefinition) -> None:
        attempt = Attempt(held, task, definition, self._around)
        key = (task.run, task.n)
        self._running[key] = attempt
        held.on_lost = attempt.drop
        began = self._backend.clock.now()
        try:
            ended = await attempt.run()
            self._report(attempt, ended, began)
            await self._conclude(attempt, ended)
        finally:
            if self._running.get(key) is attempt:
                del self._running[key]
            attempt.settled.set()

    async def _conclude(self, attempt: Attempt, ended: Ended) -> None:
        held, task = attempt.held, attempt.task
        match ended.kind:
            case "completed":
                assert ended.result is not None
                await self._outcomes.completed(held, task, ended.result)
            case "canceled":
                await self._outcomes.canceled(held, task, ended.details)
            case "released":
                await self._retrying.put_back(held, task, attempt.heartbeat_details)
            case "failed":
                assert ended.failure is not None
                await self._retrying.failed(
                    held,
                    task,
                    ended.failure,
                    heartbeat=attempt.heartbeat_details,
                    cancel_requested=attempt.cancel_requested,
                )
            case "dropped":
                # Replaced in the queue, a last word is harmless; after a lost lease it is not.
                if held.lost:
                    held.drop()
                else:
                    held.ack()

    async def _fail(self, held: Held, task: ActivityTask, failure: Failure) -> None:
        await self._retrying.failed(held, task, failure, heartbeat=task.heartbeat_details)

    def _report(self, attempt: Attempt, ended: Ended, began: int) -> None:
        if self._on_attempt is None:
            return
        task = attempt.task
        report = AttemptReport(
            activity_type=task.activity_type,
            task_queue=task.task_queue,
            attempt=task.attempt,
            outcome=ended.kind,
            duration=self._backend.clock.now() - began,
            waited=max(0, began - attempt.held.message.timestamp - task.delay),
            failure=ended.failure,
            abandoned=attempt.abandoned,
        )
        try:
            self._on_attempt(report)
        except Exception:
            _logger.exception("the hook for attempts raised")
