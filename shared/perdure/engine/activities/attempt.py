"""One attempt of one activity: users' code, its surroundings, and how it ends.

Whatever the code does, ``run`` comes back with an ending: code that raises anything at all fails
only its own attempt, and code that ignores a deadline, a shutdown or the loss of its lease is
abandoned after a short grace.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from perdure.authoring.activity_context import ActivityCancellationDetails, ActivityContext, Info
from perdure.authoring.flags import Flag
from perdure.authoring.thread_cancellation import ThreadCancellation
from perdure.core.definitions import ActivityDefinition
from perdure.core.errors import (
    ApplicationErrorCategory,
    CancelledError,
    InvalidInputError,
    SerializationError,
    TimeoutType,
)
from perdure.core.failures import Failure, to_failure
from perdure.core.payloads import Payload, PayloadConverter
from perdure.core.tasks import ActivityTask
from perdure.engine.activities.deadlines import Deadlines, timeout_failure
from perdure.engine.activities.heartbeats import UNHURRIED, HeartbeatWriter
from perdure.engine.activities.information import info_of
from perdure.engine.activities.insistence import insist
from perdure.engine.activities.leases import Held
from perdure.engine.activities.verification import counts_since
from perdure.engine.payloads import PayloadStore, may_hold_ref
from perdure.ports.backend import Backend

GRACE: Final = 1.0
"""Seconds that code gets to end after a cancellation that nobody waits for."""
_logger = logging.getLogger("perdure.activities")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all attempts of a worker share."""

    backend: Backend
    payloads: PayloadStore
    converter: PayloadConverter
    executor: Executor
    identity: str
    worker_shutdown: Flag
    slowest_heartbeat: int = UNHURRIED


EndKind = Literal["completed", "failed", "canceled", "released", "dropped"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended; ``released`` goes back to the queue, ``dropped`` is no longer ours."""

    kind: EndKind
    result: Payload | None = None
    failure: Failure | None = None
    details: list[Payload] = []


class _Returned(msgspec.Struct, frozen=True):
    value: Any = None
    error: BaseException | None = None


class Attempt:
    """Runs ``task`` once. ``settled`` is set by whoever reported its ending."""

    def __init__(
        self,
        held: Held,
        task: ActivityTask,
        definition: ActivityDefinition,
        around: Surroundings,
    ) -> None:
        self.held = held
        self.task = task
        self.settled = asyncio.Event()
        self.cancel_requested = False
        self.abandoned = False
        self._definition = definition
        self._around = around
        self._loop = asyncio.get_running_loop()
        self.started_at = self._loop.time()
        self._dropped = False
        self._shut_down = False
        self._expired: TimeoutType | None = None
        self._context: ActivityContext | None = None
        self._work: asyncio.Task[_Returned] | None = None
        self._is_begun = False
        self._over: asyncio.Future[None] = self._loop.create_future()
        """The work is done, or given up."""
        self._grace: asyncio.TimerHandle | None = None
        self._deadlines: Deadlines | None = None
        self._heard: list[Payload] = []
        self._fetches = False
        self._heartbeats = HeartbeatWriter(
            around.backend.heartbeats,
            around.payloads,
            task,
            key=held.key,
            seq=held.message.seq,
            worker=around.identity,
            now=around.backend.clock.now,
            slowest=around.slowest_heartbeat,
        )

    @property
    def heartbeat_details(self) -> list[Payload]:
        """The newest details, or those of the attempt before."""
        return self._heartbeats.details

    # ------------------------------------------------------------ from outside

    def request_cancel(self, *, unheard: bool = False) -> None:
        """The workflow wants it cancelled: the code may take its time, or refuse. ``unheard``:
        nobody waits for its outcome."""
        self._dropped = self._dropped or unheard
        if not self.cancel_requested:
            self.cancel_requested = True
            self._stop(ActivityCancellationDetails(cancel_requested=True))

    def shut_down(self) -> None:
        """The worker ends: stop soon, or be put back."""
        self._shut_down = True
        self._stop(ActivityCancellationDetails(worker_shutdown=True), patient=False)

    def drop(self) -> None:
        """The task is no longer ours: stop, and report nothing."""
        self._dropped = True
        self._stop(ActivityCancellationDetails(not_found=True), patient=False)

    def _expire(self, kind: TimeoutType) -> None:
        self._expired = kind
        self._stop(ActivityCancellationDetails(timed_out=True), patient=False)

    def _stop(self, details: ActivityCancellationDetails, *, patient: bool = True) -> None:
        if self._context is not None:
            self._context.cancel(details)
        if self._work is not None and self._is_cancellable_task:
            self._work.cancel()
        if not patient and self._grace is None:
            self._grace = self._loop.call_later(GRACE, self._finish)

    def _finish(self, _: object = None) -> None:
        if not self._over.done():
            self._over.set_result(None)

    # ----------------------------------------------------------------- running

    async def run(self) -> Ended:
        """Run the code to an ending. Raises LeaseLost only before it begins."""
        try:
            looked = self._loop.time()
            values = await self._prepare()
            if isinstance(values, Failure):
                return Ended(kind="failed", failure=values)
            if not await counts_since(self._around.backend, self.held, self.task, looked):
                self._dropped = True
            if self.cancel_requested or self._shut_down or self._dropped:
                return self._classify(_Returned(error=CancelledError()))
            return self._classify(await self._drive(values))
        finally:
            await self._clean_up()

    async def _prepare(self) -> list[Any] | Failure:
        """The arguments, or why there are none. Builds the context."""
        around, task = self._around, self.task
        name = f"activity {task.activity_type!r}"
        try:
            whole = await self._whole_task()
            if task.delay > 0:
                # The queue's message for a delayed attempt is offered more than once in any case:
                # the mark tells that somebody began with it.
                await insist(self.held, "mark an attempt", self._heartbeats.mark)
            values = self._definition.signature.decode(whole.args, around.converter, name)
        except (InvalidInputError, SerializationError) as error:
            failure = to_failure(error, around.converter)
            return msgspec.structs.replace(failure, non_retryable=True)
        self._context = ActivityContext(
            describe=self._description(whole),
            converter=around.converter,
            on_heartbeat=self._on_heartbeat,
            worker_shutdown=around.worker_shutdown,
            thread_cancellation=self._thread_cancellation(),
        )
        return values

    def _description(self, task: ActivityTask) -> Callable[[], Info]:
        around, message = self._around, self.held.message
        started_at = around.backend.clock.now()
        return lambda: info_of(
            task, around.backend, around.converter, message, started_at=started_at
        )

    async def _whole_task(self) -> ActivityTask:
        """The task with its large payloads."""
        task = self.task
        if not may_hold_ref(self.held.message.data) and not task.heartbeat_details:
            return task
        payloads = self._around.payloads
        return await insist(
            self.held,
            "fetch a large payload",
            lambda: payloads.restore_struct(task, owner=task.workflow_id),
        )

    def _thread_cancellation(self) -> ThreadCancellation | None:
        definition = self._definition
        if definition.is_async or definition.no_thread_cancel_exception or self._is_in_process:
            return None
        return ThreadCancellation()

    @property
    def _is_in_process(self) -> bool:
        return not self._definition.is_async and isinstance(
            self._around.executor, ProcessPoolExecutor
        )

    @property
    def _is_cancellable_task(self) -> bool:
        return self._definition.is_async or self._is_in_process

    async def _drive(self, values: list[Any]) -> _Returned | None:
        """What the code returned or raised; None when it was abandoned."""
        assert self._context is not None
        surroundings = contextvars.copy_context()
        if self._definition.is_async:
            body = self._call_async(self._context, values)
        else:
            body = self._call_sync(self._context, values, surroundings)
        self._deadlines = Deadlines(
            self.task, now=self._around.backend.clock.now(), on_expired=self._expire
        )
        name = f"activity {self.task.activity_type} {self.task.run}:{self.task.n}"
        self._is_begun = True
        # Eager: much code needs no turn of the loop at all.
        self._work = asyncio.Task(
            body, loop=self._loop, name=name, context=surroundings, eager_start=True
        )
        if self._work.done():
            self._finish()
        else:
            self._work.add_done_callback(self._finish)
            await self._over
        if not self._work.done():
            self.abandoned = True
            _logger.warning(
                "activity %s (%s) does not end although it was cancelled: left to itself",
                self.task.activity_type,
                self.task.activity_id,
            )
            return None
        if self._work.cancelled():
            return _Returned(error=asyncio.CancelledError())
        return self._work.result()

    async def _call_async(self, context: ActivityContext, values: list[Any]) -> _Returned:
        try:
            with context.activate():
                return _Returned(value=await self._definition.function(*values))
        except BaseException as error:  # noqa: BLE001 - user code fails only its own attempt
            return _raised(error)

    async def _call_sync(
        self, context: ActivityContext, values: list[Any], surroundings: contextvars.Context
    ) -> _Returned:
        function, executor = self._definition.function, self._around.executor
        try:
            if self._is_in_process:
                value = await self._loop.run_in_executor(executor, function, *values)
                return _Returned(value=value)
            call = self._thread_body(context, values)
            own = surroundings.copy()
            return await self._loop.run_in_executor(executor, own.run, call)
        except BaseException as error:  # noqa: BLE001 - a broken pool fails only this attempt
            return _raised(error)

    def _thread_body(self, context: ActivityContext, values: list[Any]) -> Callable[[], _Returned]:
        def call() -> _Returned:
            if context.cancelled.is_set():
                # It waited for a thread for too long.
                return _Returned(error=CancelledError())
            try:
                with context.activate():
                    return _Returned(value=self._definition.function(*values))
            except BaseException as error:  # noqa: BLE001 - user code fails only its own attempt
                return _raised(error)

        return call

    async def _clean_up(self) -> None:
        if self._deadlines is not None:
            self._deadlines.close()
        if self._grace is not None:
            self._grace.cancel()
        if self._work is not None and not self.abandoned and self._is_cancellable_task:
            self._work.cancel()
        await self._heartbeats.close()

    # ---------------------------------------------------------------- endings

    def _classify(self, returned: _Returned | None) -> Ended:
        if self._dropped:
            return Ended(kind="dropped")
        if self._expired is not None:
            failure = timeout_failure(self._expired, details=self.heartbeat_details)
            return Ended(kind="failed", failure=failure)
        if returned is None:
            return Ended(kind="released")
        if returned.error is None:
            return self._completed(returned.value)
        if isinstance(returned.error, CancelledError | asyncio.CancelledError):
            if self.cancel_requested:
                details = to_failure(returned.error, self._around.converter).details
                return Ended(kind="canceled", details=details)
            if self._shut_down:
                return Ended(kind="released")
        return self._failed(returned.error)

    def _completed(self, value: Any) -> Ended:
        converter = self._around.converter
        try:
            return Ended(kind="completed", result=converter.to_payload(value))
        except Exception as error:  # noqa: BLE001 - converters are users' code too
            failure = to_failure(error, converter)
            # It would not fit the next time either, and the work is done.
            return Ended(
                kind="failed", failure=msgspec.structs.replace(failure, non_retryable=True)
            )

    def _failed(self, error: BaseException) -> Ended:
        failure = to_failure(error, self._around.converter)
        if failure.category != ApplicationErrorCategory.BENIGN:
            _logger.warning(
                "Completing activity as failed: %s (%s), attempt %d: %s",
                self.task.activity_type,
                self.task.activity_id,
                self.task.attempt,
                failure.message,
                extra={
                    "workflow_id": self.task.workflow_id,
                    "run_id": self.task.run,
                    "__temporal_error_identifier": "ActivityFailure",
                },
                exc_info=error,
            )
        return Ended(kind="failed", failure=failure)

    # -------------------------------------------------------------- heartbeats

    def _on_heartbeat(self, details: tuple[Any, ...]) -> None:
        """In whatever thread the activity runs."""
        converter = self._around.converter
        encoded = [converter.to_payload(detail) for detail in details]
        if self._is_in_loop():
            self._beat(encoded)
        else:
            # Only the newest word counts: a flood of them must not pile up before the loop. The
            # word is put down before anybody looks whether it will be fetched.
            self._heard = encoded
            if not self._fetches:
                self._fetches = True
                with contextlib.suppress(RuntimeError):  # an abandoned thread may outlive the loop
                    self._loop.call_soon_threadsafe(self._fetch_beat)

    def _fetch_beat(self) -> None:
        self._fetches = False
        self._beat(self._heard)

    def _is_in_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _beat(self, details: list[Payload]) -> None:
        if not self._is_begun or self._over.done():
            return
        if self._deadlines is not None:
            self._deadlines.beat()
        self._heartbeats.beat(details)


def _raised(error: BaseException) -> _Returned:
    """``error`` without the frame that called the user's code."""
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.__traceback__ = error.__traceback__.tb_next
    return _Returned(error=error)
