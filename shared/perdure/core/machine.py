"""One run: events in, commands out.

The order inside a step, which histories depend on (changing it takes a numbered flag in
``Record.flags``):

1. the clock moves to max(previous, the event's timestamp);
2. an event whose identity was seen, or that addresses another run, changes nothing;
3. the event is applied: it resolves what was awaited, or makes the handler's task;
4. ready callbacks run until none is left, then conditions are checked in the order they were
   registered; both repeat until neither moves;
5. if the code ended, what is open is taken back and the close is the last command.

A step never raises for what user code does: failure is an output. It raises only
:class:`~perdure.core.errors.NondeterminismError`, out of :meth:`Instance.replay`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from perdure.core import events as ev
from perdure.core.commands import (
    CancelWorkflow,
    Close,
    Command,
    CompleteWorkflow,
    FailWorkflow,
    RejectSignal,
    RetryActivity,
    StartTimer,
    TerminateWorkflow,
)
from perdure.core.definitions import HandlerDefinition, WorkflowDefinition
from perdure.core.durations import to_datetime, to_timedelta
from perdure.core.errors import (
    InvalidInputError,
    WorkflowQueryFailedError,
    is_cancelled_exception,
)
from perdure.core.failures import Failure, to_failure
from perdure.core.hosting import RunHost
from perdure.core.info import Info
from perdure.core.ledger import Ledger, OpenActivity
from perdure.core.loop import TaskCancelled
from perdure.core.payloads import Payload, PayloadConverter, own
from perdure.core.replay import compare


class Instance:
    """A run of ``definition``, from its WorkflowStarted event on."""

    def __init__(
        self,
        definition: WorkflowDefinition,
        started: ev.WorkflowStarted,
        timestamp: int,
        *,
        workflow_id: str,
        task_queue: str,
        namespace: str,
        converter: PayloadConverter,
    ) -> None:
        self.definition = definition
        self.started = started
        self.run = started.run
        self.ledger = Ledger()
        self._converter = converter
        self._main: Any = None
        self._buffered: dict[str, list[ev.WorkflowSignaled]] = {}
        info = _info(started, timestamp, workflow_id, task_queue, namespace)
        self.host = RunHost(self.ledger, converter, info)
        self.host.instant = timestamp

    @property
    def close(self) -> Close | None:
        return self.ledger.close

    @property
    def queues(self) -> dict[int, str]:
        """The task queue of every activity that was scheduled elsewhere than the run's own."""
        return self.host.queues

    def apply(self, event: ev.Event, *, timestamp: int) -> list[Command]:
        """Run the code on ``event`` until it waits; what it decided."""
        host = self.host
        host.instant = max(host.instant, timestamp)
        host.history_length += 1
        if self.close is None and self._is_news(event):
            self._apply(event)
            self._settle()
        commands = self.ledger.take()
        host.history_length += len(commands)
        return commands

    def replay(
        self, applied: Iterable[tuple[int, int, ev.Event | None]], recorded: Sequence[Command]
    ) -> None:
        """Apply one record's events again: (sequence, timestamp, event; None for one that was
        unreadable).

        Raises NondeterminismError, naming the event and both commands, when the code decides other
        than ``recorded``. The instance is then of no further use.
        """
        self.host.is_replaying = True
        try:
            produced: list[Command] = []
            sequence = 0
            for seq, timestamp, event in applied:
                sequence = seq
                if event is not None:
                    produced += self.apply(event, timestamp=timestamp)
            compare(recorded, produced, event=sequence)
        finally:
            self.host.is_replaying = False

    def query(self, name: str, args: Sequence[Payload]) -> Payload:
        """The answer of a query handler, which may read and not decide.

        Raises WorkflowQueryFailedError (unknown, or the handler raised: its error is the cause).
        """
        handler = self.definition.queries.get(name)
        if handler is None:
            known = ", ".join(sorted(self.definition.queries)) or "none"
            raise WorkflowQueryFailedError(
                f"unknown query {name!r} of workflow type {self.definition.name!r}; known queries: {known}"
            )
        host = self.host
        if host.instance is None:
            raise WorkflowQueryFailedError("the workflow object could not be built")
        host.is_read_only = True
        try:
            values = handler.signature.decode(args, self._converter, f"query {name!r}")
            answer = host.loop.call(handler.function, host.instance, *values)
            return self._converter.to_payload(answer)
        except Exception as error:
            raise WorkflowQueryFailedError(
                f"query {name!r} failed: {type(error).__name__}: {error}"
            ) from error
        finally:
            host.is_read_only = False

    def dispose(self) -> None:
        """Drop the run from memory: its coroutines end, nothing more is decided."""
        self.host.dispose()

    # step 2

    def _is_news(self, event: ev.Event) -> bool:
        if event.run not in ("", self.run):
            return False
        if isinstance(event, ev.TimerFired) and self.host.instant < event.due:
            self._rearm(event)
            return False
        identity = ev.identity(event)
        if identity in self.ledger.seen:
            return False
        self.ledger.seen.add(identity)
        return True

    def _rearm(self, event: ev.TimerFired) -> None:
        # A leader with a fast clock fired it: the schedule is used up, so ignoring it would lose it.
        timer = self.ledger.timers.get(event.n)
        if timer is not None:
            self.ledger.add(timer.command)

    # step 3

    def _apply(self, event: ev.Event) -> None:
        match event:
            case ev.WorkflowStarted():
                self._start(event)
            case ev.WorkflowSignaled():
                self._signal(event)
            case ev.WorkflowCancelRequested():
                self._cancel(event.reason)
            case ev.WorkflowTerminateRequested():
                failure = Failure(
                    message=event.reason or "Workflow terminated",
                    kind="terminated",
                    details=event.details,
                )
                self.ledger.finish(TerminateWorkflow(failure=failure))
            case ev.TimerFired():
                timer = self.ledger.timers.pop(event.n, None)
                if timer is not None:
                    timer.fire()
            case ev.ActivityStarted():
                self._activity_started(event)
            case ev.ActivityAttemptFailed():
                self._activity_attempt_failed(event)
            case ev.ActivityCompleted():
                self._activity_ended(event, own(event.result), 0)
            case ev.ActivityFailed():
                self._activity_ended(event, event.failure, event.retry_state)
            case ev.ActivityCanceled():
                failure = Failure(message="Cancelled", kind="canceled", details=event.details)
                self._activity_ended(event, failure, 0)

    def _start(self, event: ev.WorkflowStarted) -> None:
        limits = [limit for limit in (event.run_timeout, event.execution_timeout) if limit]
        if limits:
            self._limit(min(limits))
        try:
            args = self.definition.signature.decode(
                event.args, self._converter, f"workflow {self.definition.name!r}"
            )
            init_args = args if self.definition.init_takes_args else []
            self.host.instance = self.host.loop.call(self.definition.cls, *init_args)
        except Exception as error:  # noqa: BLE001
            self._end(error)
            return
        self._main = self.host.loop.create_task(self._run(args), name="workflow")

    def _limit(self, limit: int) -> None:
        def expire() -> None:
            failure = Failure(message="Workflow timed out", kind="timeout")
            self.ledger.finish(FailWorkflow(failure=failure))

        due = self.host.instant + limit
        self.ledger.start_timer(due, expire, duration=limit, purpose="run_timeout")

    async def _run(self, args: list[Any]) -> None:
        try:
            result = await self.definition.run(self.host.instance, *args)
            close: Close = CompleteWorkflow(result=self._converter.to_payload(result))
        except BaseException as error:
            if self.host.loop_is_gone:
                raise
            self._end(error)
        else:
            self.ledger.finish(close)

    def _end(self, error: BaseException) -> None:
        failure = to_failure(error, self._converter)
        if self.host.cancellation_reason is not None and is_cancelled_exception(error):
            text = self.host.cancellation_reason or "Workflow cancelled"
            self.ledger.finish(CancelWorkflow(failure=Failure(message=text, kind="canceled")))
        elif isinstance(error, TaskCancelled):
            stray = Failure(message="cancelled by the workflow's own code", type="CancelledError")
            self.ledger.finish(FailWorkflow(failure=stray))
        else:
            self.ledger.finish(FailWorkflow(failure=failure))

    def _cancel(self, reason: str) -> None:
        if self.host.cancellation_reason is None:
            self.host.cancellation_reason = reason
            if self._main is not None:
                self.host.loop.call_soon(self._main.cancel)

    def _signal(self, event: ev.WorkflowSignaled) -> None:
        handler = self.definition.signals.get(event.name)
        if handler is None:
            self._buffered.setdefault(event.name, []).append(event)
            return
        if self.host.instance is None:
            return
        try:
            values = handler.signature.decode(event.args, self._converter, f"signal {event.name!r}")
        except InvalidInputError as error:
            self.ledger.add(RejectSignal(eid=event.eid, name=event.name, reason=str(error)))
            return
        self.host.loop.create_task(self._handle(handler, values), name=f"signal-{event.name}")

    async def _handle(self, handler: HandlerDefinition, values: list[Any]) -> None:
        try:
            returned = handler.function(self.host.instance, *values)
            if isinstance(returned, Coroutine | Awaitable):
                await returned
        except TaskCancelled:
            raise
        except BaseException as error:
            if self.host.loop_is_gone:
                raise
            self._end(error)

    @property
    def unhandled_signals(self) -> list[str]:
        """Names of signals that no handler took."""
        return sorted(self._buffered)

    # activities

    def _activity_started(self, event: ev.ActivityStarted) -> None:
        activity = self.ledger.activities.get(event.n)
        if activity is not None and activity.start_timer:
            self.ledger.cancel_timer(activity.start_timer)
            activity.start_timer = 0

    def _activity_attempt_failed(self, event: ev.ActivityAttemptFailed) -> None:
        activity = self.ledger.activities.get(event.n)
        if activity is None:
            return
        activity.attempt = event.attempt
        activity.last_failure = event.failure
        activity.heartbeat = event.heartbeat
        if activity.cancel_requested:
            self._activity_ended(event, Failure(message="Cancelled", kind="canceled"), 0)
            return
        activity.retry_timer = self.ledger.start_timer(
            self.host.instant + event.delay,
            lambda: self._retry(activity),
            duration=event.delay,
            purpose="retry",
            of=event.n,
        )

    def _retry(self, activity: OpenActivity) -> None:
        activity.retry_timer = 0
        activity.attempt += 1
        self.ledger.add(
            RetryActivity(
                n=activity.command.n,
                attempt=activity.attempt,
                last_failure=activity.last_failure,
                heartbeat=activity.heartbeat,
            )
        )

    def _activity_ended(
        self,
        event: ev.ActivityCompleted
        | ev.ActivityFailed
        | ev.ActivityCanceled
        | ev.ActivityAttemptFailed,
        outcome: Payload | Failure,
        retry_state: int,
    ) -> None:
        activity = self.ledger.activities.get(event.n)
        if activity is None:
            return
        if isinstance(event, ev.ActivityCompleted | ev.ActivityFailed) and (
            event.activity_type != activity.command.activity_type
        ):
            # A store that lost its newest writes can meet an outcome of another command.
            return
        self.ledger.settle_activity(event.n)
        activity.settle(outcome, event.attempt, retry_state)

    # step 4

    def _settle(self) -> None:
        while True:
            self.host.loop.run_ready()
            if self.close is not None or not self.host.check_conditions():
                return

    # what is open, for those who ask

    def pending_activities(self) -> list[OpenActivity]:
        return list(self.ledger.activities.values())

    def pending_timers(self) -> list[StartTimer]:
        return [timer.command for timer in self.ledger.timers.values()]


InstanceFactory = Callable[[ev.WorkflowStarted, int], Instance]


def _info(
    started: ev.WorkflowStarted, timestamp: int, workflow_id: str, task_queue: str, namespace: str
) -> Info:
    return Info(
        workflow_id=workflow_id,
        run_id=started.run,
        workflow_type=started.workflow_type,
        task_queue=task_queue,
        namespace=namespace,
        start_time=to_datetime(timestamp),
        workflow_start_time=to_datetime(timestamp),
        attempt=started.attempt,
        execution_timeout=to_timedelta(started.execution_timeout)
        if started.execution_timeout
        else None,
        run_timeout=to_timedelta(started.run_timeout) if started.run_timeout else None,
        first_execution_run_id=started.first_run or started.run,
        headers=started.headers,
        memo=started.memo,
        search_attributes=started.search_attributes,
    )
