"""What follows a failed attempt: another one, soon or late, or none.

A backoff of up to 30 s replaces the task by its next attempt, whose receiver hands it back until
its time has come. A longer one goes through the log, and the core times it. Replacing is a
compare-and-set on the task's message: who is no longer its holder changes nothing.
"""

from random import Random
from typing import Final

import msgspec

from perdure.core.durations import SECOND
from perdure.core.errors import RetryState, SerializationError, TimeoutType
from perdure.core.failures import Failure
from perdure.core.payloads import Payload
from perdure.core.retry import RetryState as RetryWord
from perdure.core.retry import decide_retry
from perdure.core.tasks import ActivityTask, decode_task, encode_task
from perdure.engine.activities.insistence import insist
from perdure.engine.activities.leases import Held
from perdure.engine.activities.outcomes import Outcomes, small_failure
from perdure.engine.payloads import PayloadStore, blob_prefix
from perdure.ports.addresses import Stored
from perdure.ports.backend import Backend
from perdure.ports.errors import Conflict, TooLarge

LONGEST_REDELIVERY: Final = 30 * SECOND
_NEVER_RETRIED: Final = (TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE)
_ERROR_TYPES: Final = {
    "timeout": "TimeoutError",
    "canceled": "CancelledError",
    "terminated": "TerminatedError",
    "server": "ServerError",
    "activity": "ActivityError",
    "child_workflow": "ChildWorkflowError",
    "already_started": "WorkflowAlreadyStartedError",
}


def next_step(task: ActivityTask, failure: Failure, *, now: int) -> int | RetryState:
    """Nanoseconds until the attempt after ``task``'s, or why there is none."""
    if failure.kind == "timeout" and failure.timeout in _NEVER_RETRIED:
        return RetryState.TIMEOUT
    deadline = task.scheduled_at + task.schedule_to_close
    decision = decide_retry(
        task.retry,
        attempt=task.attempt,
        error_type=_ERROR_TYPES.get(failure.kind, failure.type or None),
        non_retryable=failure.non_retryable,
        next_retry_delay=failure.next_retry_delay,
        remaining=deadline - now if task.schedule_to_close else None,
        spread=Random(f"{task.run}:{task.n}:{task.attempt}").random(),
    )
    return decision if isinstance(decision, int) else _state(decision)


def _state(word: RetryWord) -> RetryState:
    return RetryState[word.upper()]


class Retrying:
    """Decides and performs what follows a failed or given-up attempt. May raise LeaseLost."""

    def __init__(self, backend: Backend, payloads: PayloadStore, outcomes: Outcomes) -> None:
        self._backend = backend
        self._payloads = payloads
        self._outcomes = outcomes

    async def failed(
        self,
        held: Held,
        task: ActivityTask,
        failure: Failure,
        *,
        heartbeat: list[Payload],
        cancel_requested: bool = False,
    ) -> None:
        """Settle the task after an attempt that failed."""
        if cancel_requested:
            await self._outcomes.failed(held, task, failure, RetryState.CANCEL_REQUESTED)
            return
        step = next_step(task, failure, now=self._backend.clock.now())
        if isinstance(step, RetryState):
            await self._outcomes.failed(held, task, failure, step)
        elif step > LONGEST_REDELIVERY:
            await self._outcomes.attempt_failed(
                held, task, failure, delay=step, heartbeat=heartbeat
            )
        else:
            following = msgspec.structs.replace(
                task,
                attempt=task.attempt + 1,
                delay=step,
                again=False,
                cause_at=self._backend.clock.now(),
                last_failure=failure,
                heartbeat_details=heartbeat,
            )
            await self._replace(held, task, following, failure)

    async def put_back(self, held: Held, task: ActivityTask, heartbeat: list[Payload]) -> None:
        """Give the task to another worker, with the attempt's own number."""
        same = msgspec.structs.replace(
            task,
            delay=0,
            again=False,
            cause_at=self._backend.clock.now(),
            heartbeat_details=heartbeat,
        )
        await self._replace(held, task, same, task.last_failure)

    async def _replace(
        self, held: Held, task: ActivityTask, by: ActivityTask, failure: Failure | None
    ) -> None:
        overtaken = await self._try_sizes(held, by)
        if overtaken is not None and decode_task(overtaken.data).cancel and not task.cancel:
            # The cancellation that took the task's place waits for a word of its last holder.
            if failure is not None and by.attempt != task.attempt:
                await self._outcomes.failed(held, task, failure, RetryState.CANCEL_REQUESTED)
            else:
                await self._outcomes.canceled(held, task, [])
            return
        held.ack()

    async def _try_sizes(self, held: Held, by: ActivityTask) -> Stored | None:
        """Put ``by`` in the task's place, small enough; what is there instead if that is lost."""
        prefix = blob_prefix(by.workflow_id, by.run, f"{by.n}-attempt-{by.attempt}")
        failure = small_failure(by.last_failure) if by.last_failure else None
        details = by.last_failure.details if by.last_failure else []
        if failure is not None:
            kept = msgspec.structs.replace(failure, details=details)
            by = msgspec.structs.replace(by, last_failure=kept)
        bare = msgspec.structs.replace(by, last_failure=failure)
        empty = msgspec.structs.replace(by, last_failure=None, heartbeat_details=[])
        for candidate in (by, bare):
            try:
                return await self._swap(held, await self._offload(held, candidate, prefix))
            except (TooLarge, SerializationError):
                continue
        return await self._swap(held, empty)

    async def _offload(self, held: Held, task: ActivityTask, prefix: str) -> ActivityTask:
        return await insist(
            held,
            "store a large payload",
            lambda: self._payloads.offload_struct(task, prefix),
        )

    async def _swap(self, held: Held, by: ActivityTask) -> Stored | None:
        data, seq = encode_task(by), held.message.seq
        if len(data) > self._backend.max_message:
            raise TooLarge(f"{len(data)} bytes, the limit is {self._backend.max_message}")

        async def swap() -> Stored | None:
            try:
                await self._backend.tasks.replace(held.key, data, seq=seq)
            except Conflict:
                # An answer may have been lost: then what is there is our own.
                return await self._backend.tasks.current(held.key)
            return None

        return await insist(held, "replace a task", swap)
