"""Puts what became of an attempt into the log, and only then takes its task out of the queue.

Large payloads go beside the log. What the store refuses for good is replaced by a small failure
that says so: an activity never ends without a word.
"""

import logging

import msgspec

from perdure.core.errors import RetryState, SerializationError
from perdure.core.events import (
    ActivityAttemptFailed,
    ActivityCanceled,
    ActivityCompleted,
    ActivityFailed,
    ActivityStarted,
    Event,
    encode_event,
)
from perdure.core.failures import Failure
from perdure.core.payloads import Payload
from perdure.core.tasks import ActivityTask
from perdure.engine.activities.insistence import insist
from perdure.engine.activities.leases import Held
from perdure.engine.activities.verification import address_of
from perdure.engine.payloads import PayloadStore, blob_prefix
from perdure.ports.addresses import Lane
from perdure.ports.backend import Backend
from perdure.ports.errors import TooLarge

_SMALL_PAYLOAD = 1024
_SMALL_TEXT = 1024
_SMALL_STACK = 2048
_SMALL_DEPTH = 3
_logger = logging.getLogger("perdure.activities")


class ActivityLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dead letter of kind ``activity``: what was to be done, and why nobody tries any more."""

    workflow_id: str
    run: str
    n: int
    workflow_type: str
    workflow_queue: str
    activity_type: str
    activity_id: str
    task_queue: str
    attempts: int
    failure: Failure
    args: list[Payload] = []
    args_omitted: bool = False
    failed_at: int = 0


class GarbageLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter of kind ``activity`` for a task that cannot be read."""

    workflow_id: str
    run: str
    n: int
    task_queue: str
    reason: str
    task: bytes


class Refused(Exception):
    """The store will never take this event."""


def small_failure(failure: Failure, depth: int = _SMALL_DEPTH) -> Failure:
    """``failure`` with long texts cut, and without details."""
    cause = small_failure(failure.cause, depth - 1) if failure.cause and depth > 1 else None
    return msgspec.structs.replace(
        failure,
        message=failure.message[:_SMALL_TEXT],
        stack=failure.stack[-_SMALL_STACK:],
        details=[],
        cause=cause,
    )


class Outcomes:
    """Reports for one worker. All methods but :meth:`started` settle the task; all may raise
    LeaseLost."""

    def __init__(self, backend: Backend, payloads: PayloadStore, *, identity: str) -> None:
        self._backend = backend
        self._payloads = payloads
        self._identity = identity

    async def started(self, held: Held, task: ActivityTask) -> None:
        """Stops the schedule-to-start deadline."""
        event = ActivityStarted(run=task.run, n=task.n, attempt=task.attempt)
        await self._append(held, task, event, "started")

    async def completed(self, held: Held, task: ActivityTask, result: Payload) -> None:
        event = ActivityCompleted(
            run=task.run,
            n=task.n,
            attempt=task.attempt,
            activity_type=task.activity_type,
            result=result,
            identity=self._identity,
        )
        try:
            await self._append(held, task, event, "completed")
        except Refused as error:
            failure = Failure(
                message=f"the result of activity {task.activity_type!r} cannot be stored: {error}",
                kind="server",
                non_retryable=True,
            )
            await self.failed(held, task, failure, RetryState.NON_RETRYABLE_FAILURE)
        else:
            held.ack()

    async def canceled(self, held: Held, task: ActivityTask, details: list[Payload]) -> None:
        event = ActivityCanceled(
            run=task.run,
            n=task.n,
            attempt=task.attempt,
            details=details,
            identity=self._identity,
        )
        try:
            await self._append(held, task, event, "canceled")
        except Refused:
            bare = msgspec.structs.replace(event, details=[])
            await self._append(held, task, bare, "canceled")
        held.ack()

    async def attempt_failed(
        self,
        held: Held,
        task: ActivityTask,
        failure: Failure,
        *,
        delay: int,
        heartbeat: list[Payload],
    ) -> None:
        """The core times the next attempt."""
        event = ActivityAttemptFailed(
            run=task.run,
            n=task.n,
            attempt=task.attempt,
            failure=failure,
            delay=delay,
            heartbeat=heartbeat,
        )
        try:
            await self._append(held, task, event, "attempt")
        except Refused:
            small = msgspec.structs.replace(event, failure=small_failure(failure), heartbeat=[])
            await self._append(held, task, small, "attempt")
        held.ack()

    async def failed(
        self, held: Held, task: ActivityTask, failure: Failure, state: RetryState
    ) -> None:
        """No attempt follows. Unless it was wanted so, a dead letter keeps what was to be done."""
        event = ActivityFailed(
            run=task.run,
            n=task.n,
            attempt=task.attempt,
            activity_type=task.activity_type,
            failure=failure,
            retry_state=int(state),
            identity=self._identity,
        )
        try:
            await self._append(held, task, event, "failed")
        except Refused:
            small = msgspec.structs.replace(event, failure=small_failure(failure))
            await self._append(held, task, small, "failed")
        if state is not RetryState.CANCEL_REQUESTED:
            await self._bury(held, task, failure)
        held.ack()

    async def garbage(self, held: Held, reason: str) -> None:
        """A task that nobody can read."""
        key = held.key
        letter = GarbageLetter(
            workflow_id=key.workflow_id,
            run=key.run,
            n=key.n,
            task_queue=key.queue,
            reason=reason,
            task=held.message.data,
        )
        data = msgspec.json.encode(letter)
        await self._put_letter(held, key.workflow_id, data, f"{key.run}:{key.n}")
        held.ack()

    async def _append(self, held: Held, task: ActivityTask, event: Event, kind: str) -> None:
        """Raises Refused when the event can't be made small enough."""
        prefix = blob_prefix(task.workflow_id, task.run, f"{task.n}-{kind}-{task.attempt}")
        refusal: Exception | None = None
        for smallest in (None, _SMALL_PAYLOAD):
            try:
                await self._append_once(held, task, event, kind, prefix, smallest)
            except (TooLarge, SerializationError) as error:
                refusal = error
            else:
                return
        raise Refused(str(refusal)) from refusal

    async def _append_once(
        self,
        held: Held,
        task: ActivityTask,
        event: Event,
        kind: str,
        prefix: str,
        smallest: int | None,
    ) -> None:
        data = encode_event(event)
        if smallest is not None or len(data) > self._payloads.inline_limit:
            moved = await insist(
                held,
                "store a large payload",
                lambda: self._payloads.offload_event(event, prefix, smallest=smallest),
            )
            data = encode_event(moved)
        if len(data) > self._backend.max_message:
            raise TooLarge(f"{len(data)} bytes, the limit is {self._backend.max_message}")
        to, word = address_of(task), f"{task.run}:{task.n}:{task.attempt}:{kind}"
        await insist(
            held,
            f"append {kind} of activity {task.activity_id}",
            lambda: self._backend.log.append(to, Lane.ENGINE, data, dedup=word),
        )

    async def _bury(self, held: Held, task: ActivityTask, failure: Failure) -> None:
        letter = ActivityLetter(
            workflow_id=task.workflow_id,
            run=task.run,
            n=task.n,
            workflow_type=task.workflow_type,
            workflow_queue=task.workflow_queue,
            activity_type=task.activity_type,
            activity_id=task.activity_id,
            task_queue=task.task_queue,
            attempts=task.attempt,
            failure=failure,
            args=task.args,
            failed_at=self._backend.clock.now(),
        )
        data = msgspec.json.encode(letter)
        if len(data) > self._backend.max_message:
            small = small_failure(failure)
            bare = msgspec.structs.replace(letter, failure=small, args=[], args_omitted=True)
            data = msgspec.json.encode(bare)
        await self._put_letter(held, task.workflow_id, data, f"{task.run}:{task.n}")

    async def _put_letter(self, held: Held, workflow_id: str, data: bytes, dedup: str) -> None:
        letters = self._backend.dead_letters
        try:
            await insist(
                held,
                "put a dead letter",
                lambda: letters.put("activity", workflow_id, data, dedup=dedup),
            )
        except TooLarge as error:
            _logger.error("the dead letter of %s is lost: %s", workflow_id, error)
