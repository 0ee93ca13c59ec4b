"""The host that workflow code speaks to: it turns what the code asks for into ledger entries, and
outcomes back into what the code awaits."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from perdure.core.commands import ScheduleActivity
from perdure.core.errors import ActivityError, CancelledError, ReadOnlyContextError, RetryState
from perdure.core.failures import Failure, to_exception
from perdure.core.host import ActivityCancellationType, ActivityRequest
from perdure.core.info import Info
from perdure.core.ledger import Ledger, OpenActivity
from perdure.core.loop import Future, TaskCancelled, TimerHandle, WorkflowLoop
from perdure.core.payloads import Payload, PayloadConverter
from perdure.core.randomness import Random, seeded


class RunHost:
    """One run's :class:`perdure.core.host.Host`."""

    def __init__(
        self, ledger: Ledger, converter: PayloadConverter, info: Info, obj: Any = None
    ) -> None:
        self.info = info
        self.instance = obj
        self.converter = converter
        self.is_replaying = False
        self.is_read_only = False
        self.random: Random = seeded(info.run_id)
        self.cancellation_reason: str | None = None
        self.history_length = 0
        self.instant = 0
        self.queues: dict[int, str] = {}
        self.unhandled: deque[dict[str, Any]] = deque(maxlen=16)
        self._ledger = ledger
        self._conditions: list[tuple[Callable[[], bool], Future[bool]]] = []
        self._activity_ids = 0
        self.loop = WorkflowLoop(
            self,
            on_timer=self._start_loop_timer,
            on_timer_cancelled=self._cancel_loop_timer,
            on_unhandled=self.unhandled.append,
        )

    def now(self) -> int:
        return self.instant

    # activities

    def start_activity(self, request: ActivityRequest) -> Awaitable[Any]:
        self._must_be_writable("start an activity")
        command = self._schedule(request)
        waiter = _ActivityWaiter(self, command, request)
        self._ledger.activities[command.n] = waiter.open
        self._ledger.add(command)
        self._arm_deadlines(waiter.open)
        task = self.loop.create_task(waiter.wait(), name=f"activity-{command.n}")
        task.add_done_callback(waiter.done)
        return task

    def _schedule(self, request: ActivityRequest) -> ScheduleActivity:
        args = [self.converter.to_payload(arg) for arg in request.args]
        self._activity_ids += 1
        n = self._ledger.next_number()
        task_queue = request.task_queue or self.info.task_queue
        if task_queue != self.info.task_queue:
            self.queues[n] = task_queue
        headers = dict(request.headers)
        for name in ("traceparent", "tracestate"):
            if name in self.info.headers:
                headers.setdefault(name, self.info.headers[name])
        return ScheduleActivity(
            n=n,
            activity_type=request.name,
            activity_id=request.activity_id or str(self._activity_ids),
            task_queue=task_queue,
            args=args,
            schedule_to_close=request.schedule_to_close,
            schedule_to_start=request.schedule_to_start,
            start_to_close=request.start_to_close,
            heartbeat=request.heartbeat,
            retry=request.retry,
            scheduled_at=self.instant,
            headers=headers,
            summary=request.summary,
        )

    def _arm_deadlines(self, activity: OpenActivity) -> None:
        command = activity.command
        if command.schedule_to_close:
            activity.close_timer = self._deadline(
                activity, command.schedule_to_close, "schedule_to_close"
            )
        if command.schedule_to_start:
            activity.start_timer = self._deadline(
                activity, command.schedule_to_start, "schedule_to_start"
            )

    def _deadline(self, activity: OpenActivity, duration: int, purpose: Any) -> int:
        n = activity.command.n

        def expire() -> None:
            timeout = 3 if purpose == "schedule_to_close" else 2
            failure = Failure(
                message=f"activity {activity.command.activity_type} missed its {purpose} timeout",
                kind="timeout",
                timeout=timeout,
                cause=activity.last_failure,
            )
            self._ledger.cancel_activity(n, forget=True)
            self._ledger.settle_activity(n)
            activity.settle(failure, activity.attempt, RetryState.TIMEOUT)

        return self._ledger.start_timer(
            self.instant + duration, expire, duration=duration, purpose=purpose, of=n
        )

    def cancel_activity(self, n: int, *, forget: bool) -> None:
        """Ask for the end of activity ``n``; one that waits for its next attempt ends here."""
        activity = self._ledger.activities.get(n)
        if activity is None:
            return
        if activity.retry_timer:
            self._ledger.settle_activity(n)
            activity.settle(Failure(message="Cancelled", kind="canceled"), activity.attempt, 0)
            return
        self._ledger.cancel_activity(n, forget=forget)
        if forget:
            self._ledger.settle_activity(n)

    def abandon_activity(self, n: int) -> None:
        """Let activity ``n`` run; nobody waits for it any more."""
        self._ledger.settle_activity(n)

    # timers and conditions

    async def sleep(self, duration: int, summary: str) -> None:
        self._must_be_writable("sleep")
        if duration <= 0:
            return
        done = self.loop.create_future()
        n = self._ledger.start_timer(
            self.instant + duration,
            lambda: _resolve(done, None),
            duration=duration,
            summary=summary,
        )
        try:
            await done
        finally:
            if not self.loop_is_gone:
                self._ledger.cancel_timer(n)

    async def wait_condition(
        self, condition: Callable[[], bool], timeout: int | None, summary: str
    ) -> bool:
        self._must_be_writable("wait for a condition")
        if condition():
            return True
        met: Future[bool] = self.loop.create_future()
        entry = (condition, met)
        self._conditions.append(entry)
        timer = 0
        if timeout is not None:
            if timeout <= 0:
                self._conditions.remove(entry)
                return False
            timer = self._ledger.start_timer(
                self.instant + timeout,
                lambda: _resolve(met, False),
                duration=timeout,
                summary=summary,
            )
        try:
            return await met
        finally:
            if not self.loop_is_gone:
                if entry in self._conditions:
                    self._conditions.remove(entry)
                if timer:
                    self._ledger.cancel_timer(timer)

    def check_conditions(self) -> bool:
        """Wake those whose condition holds, first come first served; whether anyone woke."""
        woke = False
        for entry in list(self._conditions):
            condition, met = entry
            try:
                holds = self.loop.call(condition)
            except Exception as error:  # noqa: BLE001
                holds = True
                if not met.done():
                    met.set_exception(error)
            if holds:
                if entry in self._conditions:
                    self._conditions.remove(entry)
                _resolve(met, True)
                woke = True
        return woke

    def _start_loop_timer(self, handle: TimerHandle, duration: int) -> int:
        self._must_be_writable("start a timer")
        return self._ledger.start_timer(
            self.instant + duration, lambda: self.loop.timer_is_due(handle), duration=duration
        )

    def _cancel_loop_timer(self, n: int) -> None:
        self._ledger.cancel_timer(n)

    loop_is_gone = False

    def dispose(self) -> None:
        """Drop the run from memory without another decision."""
        self.loop_is_gone = True
        self._must_be_writable = self._refuse_gone
        self.loop.dispose()

    def _must_be_writable(self, action: str) -> None:
        if self.is_read_only:
            raise ReadOnlyContextError(
                f"While in read-only function, action attempted: {action}. "
                "A query may only read the workflow's state."
            )

    def _refuse_gone(self, action: str) -> NoReturn:
        raise RuntimeError(f"cannot {action}: this workflow run is being dropped from memory")


class _ActivityWaiter:
    """Between an open activity and the task that awaits it."""

    def __init__(self, host: RunHost, command: ScheduleActivity, request: ActivityRequest) -> None:
        self._host = host
        self._request = request
        self._outcome: Future[Payload] = host.loop.create_future()
        self._watched = False
        self.open = OpenActivity(command, self._settle)

    async def wait(self) -> Any:
        self._watched = True
        cancellation = self._request.cancellation
        while True:
            try:
                payload = await self._outcome
                break
            except TaskCancelled:
                if self._host.loop_is_gone:
                    raise
                n = self.open.command.n
                if self._outcome.done() and not self._outcome.cancelled():
                    # The outcome was here first; a cancellation that came too late changes nothing.
                    continue
                if cancellation is ActivityCancellationType.WAIT_CANCELLATION_COMPLETED:
                    self._outcome = self._host.loop.create_future()
                    self._host.cancel_activity(n, forget=False)
                    continue
                self._abandon(n, cancellation)
                raise self._error(
                    "Activity cancelled", RetryState.CANCEL_REQUESTED
                ) from CancelledError()
        return self._host.converter.from_payload(payload, self._request.result_type)

    def _abandon(self, n: int, cancellation: ActivityCancellationType) -> None:
        if cancellation is ActivityCancellationType.ABANDON:
            self._host.abandon_activity(n)
        else:
            self._host.cancel_activity(n, forget=True)

    def done(self, task: Any) -> None:
        # A task cancelled before its first step never reached the handling above.
        if not self._watched and not self._host.loop_is_gone:
            self._abandon(self.open.command.n, self._request.cancellation)

    def _settle(self, outcome: Payload | Failure, attempt: int, retry_state: int) -> None:
        future = self._outcome
        if future.done():
            return
        if not isinstance(outcome, Failure):
            future.set_result(outcome)
            return
        self.open.attempt = attempt
        cause = to_exception(outcome, self._host.converter)
        if outcome.kind == "canceled":
            text = "Activity cancelled"
        elif outcome.kind == "timeout":
            text = f"Activity task timed out: {outcome.message} (attempt {attempt})"
        else:
            text = f"Activity task failed: {self.open.command.activity_type} after {attempt} attempt(s): {cause}"
        error = self._error(text, RetryState(retry_state) if retry_state else None)
        error.__cause__ = cause
        future.set_exception(error)

    def _error(self, message: str, retry_state: RetryState | None) -> ActivityError:
        command = self.open.command
        return ActivityError(
            message,
            scheduled_event_id=command.n,
            activity_type=command.activity_type,
            activity_id=command.activity_id,
            attempt=self.open.attempt,
            retry_state=retry_state,
        )


def _resolve(future: Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
