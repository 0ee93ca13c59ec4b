"""The host that workflow code speaks to: it turns what the code asks for into ledger entries, and
outcomes back into what the code awaits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, cast

from perdure.core.commands import ScheduleActivity
from perdure.core.errors import ActivityError, CancelledError, ReadOnlyContextError, RetryState
from perdure.core.events import WorkflowStarted
from perdure.core.failures import Failure, known, to_exception
from perdure.core.host import ActivityCancellationType, ActivityRequest
from perdure.core.info import Info, info_of
from perdure.core.ledger import Ledger, OpenActivity
from perdure.core.loop import Future, TaskCancelled, TimerHandle, WorkflowLoop
from perdure.core.payloads import Payload, PayloadConverter
from perdure.core.randomness import Random, seeded

_TRACE: Final = ("traceparent", "tracestate")
"""Headers of the start that every activity gets."""
_UNHANDLED: Final = 16
"""How many unhandled exceptions are kept for who asks."""


class RunHost:
    """One run's :class:`perdure.core.host.Host`.

    Thousands of these wait in a scheduler's memory: what most runs never ask for is made when it is
    first asked for.
    """

    __slots__ = (
        "_activity_ids",
        "_condition_ids",
        "_conditions",
        "_info",
        "_ledger",
        "_namespace",
        "_random",
        "_started",
        "_timestamp",
        "_trace",
        "_workflow_id",
        "cancellation_reason",
        "converter",
        "handlers_under_way",
        "history_length",
        "instance",
        "instant",
        "is_replaying",
        "loop",
        "queues",
        "task_queue",
        "unhandled",
    )

    def __init__(
        self,
        ledger: Ledger,
        started: WorkflowStarted,
        timestamp: int,
        workflow_id: str,
        task_queue: str,
        namespace: str,
        converter: PayloadConverter,
    ) -> None:
        self.task_queue = task_queue
        self.converter = converter
        self.instance: Any = None
        self.is_replaying = False
        self.cancellation_reason: str | None = None
        self.history_length = 0
        self.handlers_under_way = 0
        self.instant = timestamp
        self.queues: dict[int, str] = {}
        self.unhandled: list[dict[str, Any]] = []
        self._started = started
        self._timestamp = timestamp
        self._workflow_id = workflow_id
        self._namespace = namespace
        self._trace = {k: started.headers[k] for k in _TRACE if k in started.headers}
        self._info: Info | None = None
        self._random: Random | None = None
        self._ledger = ledger
        self._conditions: dict[int, tuple[Callable[[], bool], Future[bool]]] = {}
        self._condition_ids = 0
        self._activity_ids = 0
        self.loop = WorkflowLoop(self)

    @property
    def info(self) -> Info:
        if self._info is None:
            self._info = info_of(
                self._started,
                self._timestamp,
                workflow_id=self._workflow_id,
                task_queue=self.task_queue,
                namespace=self._namespace,
                history_length=lambda: self.history_length,
            )
        return self._info

    @property
    def random(self) -> Random:
        if self._random is None:
            self._random = seeded(self._started.run)
        return self._random

    @property
    def is_read_only(self) -> bool:
        return self.loop.is_read_only

    @property
    def all_handlers_finished(self) -> bool:
        return self.handlers_under_way == 0

    def now(self) -> int:
        return self.instant

    # activities

    def start_activity(self, request: ActivityRequest, args: Sequence[Any]) -> Awaitable[Any]:
        self.loop.must_be_open("start an activity")
        command = self._schedule(request, args)
        waiter = _ActivityWaiter(self, command, request)
        self._ledger.open_activity(waiter.open)
        self._arm_deadlines(waiter.open)
        return self.loop.start_task(waiter.wait(), f"activity-{command.n}")

    def _schedule(self, request: ActivityRequest, args: Sequence[Any]) -> ScheduleActivity:
        payloads = [self.converter.to_payload(arg) for arg in args]
        self._activity_ids += 1
        n = self._ledger.next_number()
        task_queue = request.task_queue or self.task_queue
        if task_queue != self.task_queue:
            self.queues[n] = task_queue
        return ScheduleActivity(
            n=n,
            activity_type=request.name,
            activity_id=request.activity_id or str(self._activity_ids),
            task_queue=task_queue,
            args=payloads,
            schedule_to_close=request.schedule_to_close,
            schedule_to_start=request.schedule_to_start,
            start_to_close=request.start_to_close,
            heartbeat=request.heartbeat,
            retry=request.retry,
            scheduled_at=self.instant,
            headers={**self._trace, **request.headers} if request.headers else self._trace,
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

    # queries

    def ask(self, function: Callable[..., Any], values: Sequence[Any]) -> Any:
        """What a query handler answers. It leaves no trace: the run's next draws and numbers are
        what they would have been."""
        draws = self._random.getstate() if self._random is not None else None
        try:
            return self.loop.look(_answer, function, self.instance, *values)
        finally:
            if self._random is not None and draws is not None:
                self._random.setstate(draws)
            else:
                self._random = None

    # timers and conditions

    async def sleep(self, duration: int, summary: str) -> None:
        self.loop.must_be_open("sleep")
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
            if not self.loop.is_gone:
                self._ledger.cancel_timer(n)

    async def wait_condition(
        self, condition: Callable[[], bool], timeout: int | None, summary: str
    ) -> bool:
        self.loop.must_be_open("wait for a condition")
        if condition():
            return True
        if timeout is not None and timeout <= 0:
            return False
        met: Future[bool] = self.loop.create_future()
        self._condition_ids += 1
        number = self._condition_ids
        self._conditions[number] = (condition, met)
        timer = 0
        if timeout is not None:
            timer = self._ledger.start_timer(
                self.instant + timeout,
                lambda: _resolve(met, False),
                duration=timeout,
                summary=summary,
            )
        try:
            return await met
        finally:
            if not self.loop.is_gone:
                self._conditions.pop(number, None)
                if timer:
                    self._ledger.cancel_timer(timer)

    def check_conditions(self) -> bool:
        """Wake those whose condition holds, first come first served; whether anyone woke."""
        if not self._conditions:
            return False
        woke = False
        for number, (condition, met) in list(self._conditions.items()):
            try:
                if not self.loop.call(condition):
                    continue
            except BaseException as error:  # noqa: BLE001
                _fail(met, error)
            del self._conditions[number]
            _resolve(met, True)
            woke = True
        return woke

    # what the loop asks for

    def start_loop_timer(self, handle: TimerHandle, duration: int) -> int:
        return self._ledger.start_timer(
            self.instant + duration, lambda: self.loop.timer_is_due(handle), duration=duration
        )

    def cancel_loop_timer(self, n: int) -> None:
        self._ledger.cancel_timer(n)

    def on_unhandled(self, context: dict[str, Any]) -> None:
        self.unhandled.append(context)
        del self.unhandled[:-_UNHANDLED]

    def dispose(self) -> None:
        """Drop the run from memory without another decision."""
        # Cleanup code that runs now happens in no history: what it logs is no news either.
        self.is_replaying = True
        self.loop.dispose()


class _ActivityWaiter:
    """Between an open activity and the task that awaits it."""

    def __init__(self, host: RunHost, command: ScheduleActivity, request: ActivityRequest) -> None:
        self._host = host
        self._request = request
        self._outcome: Future[Payload] = Future(loop=host.loop)
        self.open = OpenActivity(command, self._settle)

    async def wait(self) -> Any:
        cancellation = self._request.cancellation
        while True:
            try:
                payload = await self._outcome
                break
            except TaskCancelled:
                n = self.open.command.n
                if self._outcome.done() and not self._outcome.cancelled():
                    # The outcome was here first; a cancellation that came too late changes nothing.
                    continue
                if cancellation is ActivityCancellationType.WAIT_CANCELLATION_COMPLETED:
                    self._outcome = self._host.loop.create_future()
                    self._host.cancel_activity(n, forget=False)
                    continue
                if cancellation is ActivityCancellationType.ABANDON:
                    self._host.abandon_activity(n)
                else:
                    self._host.cancel_activity(n, forget=True)
                raise self._error(
                    "Activity cancelled", RetryState.CANCEL_REQUESTED
                ) from CancelledError()
        return self._host.converter.from_payload(payload, self._request.result_type)

    def _settle(self, outcome: Payload | Failure, attempt: int, retry_state: int) -> None:
        # Nobody settles it twice. Each would keep the other alive.
        self.open.settle = _ignore
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
        error = self._error(text, known(RetryState, retry_state, None))
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


def _answer(function: Callable[..., Any], *args: Any) -> Any:
    answer = function(*args)
    if not isinstance(answer, Coroutine):
        return answer
    coroutine = cast("Coroutine[Any, Any, Any]", answer)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise ReadOnlyContextError("a query cannot wait: answer from what the workflow knows now")


def _ignore(outcome: Payload | Failure, attempt: int, retry_state: int) -> None:
    """What settles an activity that is settled."""


def _resolve(future: Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: Future[Any], error: BaseException) -> None:
    if not future.done():
        # StopIteration cannot pass through a future.
        future.set_exception(
            RuntimeError(f"the condition raised {error!r}")
            if isinstance(error, StopIteration)
            else error
        )
