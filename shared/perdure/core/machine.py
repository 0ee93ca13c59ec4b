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

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

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
from perdure.core.errors import (
    InvalidInputError,
    NondeterminismError,
    WorkflowQueryFailedError,
    is_cancelled_exception,
)
from perdure.core.failures import Failure, to_failure
from perdure.core.hosting import RunHost
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
        self._early: list[ev.WorkflowSignaled] = []
        self._buffered: dict[str, list[ev.WorkflowSignaled]] = {}
        self.host = RunHost(
            self.ledger, started, timestamp, workflow_id, task_queue, namespace, converter
        )

    @property
    def close(self) -> Close | None:
        return self.ledger.close

    @property
    def queues(self) -> dict[int, str]:
        """The task queue of every activity that was scheduled elsewhere than the run's own."""
        return self.host.queues

    def apply(self, event: ev.Event, *, timestamp: int) -> list[Command]:
        """Run the code on ``event`` until it waits; what it decided."""
        if self._meet(event, timestamp):
            self._settle()
        return self._decided()

    def apply_together(self, events: Iterable[tuple[ev.Event, int]]) -> list[Command]:
        """Apply events with their timestamps as one step: every one has reached its handler before
        the code goes on."""
        if any([self._meet(event, timestamp) for event, timestamp in events]):
            self._settle()
        return self._decided()

    def replay(
        self,
        applied: Iterable[tuple[int, int, ev.Event | None]],
        recorded: Sequence[Command],
        *,
        joined: bool = False,
    ) -> None:
        """Apply one record's events again: (sequence, timestamp, event; None for one that was
        unreadable). ``joined``: the record has the flag of that name.

        Raises NondeterminismError, naming the event and both commands, when the code decides other
        than ``recorded``. The instance is then disposed.
        """
        self.host.is_replaying = True
        produced: list[Command] = []
        sequence = 0
        items = list(applied)
        if joined:
            produced += self.apply_together(
                (e, t) for _, t, e in items if isinstance(e, ev.OUTSIDE)
            )
        for seq, timestamp, event in items:
            sequence = seq
            if event is not None and not (joined and isinstance(event, ev.OUTSIDE)):
                produced += self.apply(event, timestamp=timestamp)
        try:
            compare(recorded, produced, event=sequence)
        except NondeterminismError:
            self.dispose()
            raise
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
        try:
            values = handler.signature.decode(args, self._converter, f"query {name!r}")
            return self._converter.to_payload(host.ask(handler.function, values))
        except BaseException as error:
            raise WorkflowQueryFailedError(
                f"query {name!r} failed: {type(error).__name__}: {error}"
            ) from error

    def dispose(self) -> None:
        """Drop the run from memory: its coroutines end, nothing more is decided."""
        self.host.dispose()

    def _meet(self, event: ev.Event, timestamp: int) -> bool:
        host = self.host
        if timestamp > host.instant:
            host.instant = timestamp
        host.history_length += 1
        if self.ledger.close is not None or event.run not in ("", self.run):
            return False
        self._STEPS[type(event)](self, event)
        return True

    def _decided(self) -> list[Command]:
        commands = self.ledger.take()
        self.host.history_length += len(commands)
        return commands

    # Steps 2 and 3: one method per event. The outside's events are dropped by identity when they
    # come again; the engine's by what is open, which an outcome of the wrong activity leaves open.

    def _is_again(self, event: ev.Event) -> bool:
        identity = ev.identity(event)
        if identity in self.ledger.seen:
            return True
        self.ledger.seen.add(identity)
        return False

    def _start(self, event: ev.WorkflowStarted) -> None:
        if self._is_again(event):
            return
        limits = [limit for limit in (event.run_timeout, event.execution_timeout) if limit]
        if limits:
            self._limit(min(limits))
        try:
            args = self.definition.signature.decode(
                event.args, self._converter, f"workflow {self.definition.name!r}"
            )
            init_args = args if self.definition.init_takes_args else []
            self.host.instance = self.host.loop.call(self.definition.cls, *init_args)
        except BaseException as error:  # noqa: BLE001
            self._end(error)
            return
        for signal in self._early:
            self._take_signal(signal)
        self._main = self.host.loop.create_task(self._run(args), name="workflow")
        if self.host.cancellation_reason is not None:
            self.host.loop.call_soon(self._main.cancel)

    def _limit(self, limit: int) -> None:
        failure = Failure(message="Workflow timed out", kind="timeout")

        def expire() -> None:
            self.ledger.finish(FailWorkflow(failure=failure))

        due = self.host.instant + limit
        self.ledger.start_timer(due, expire, duration=limit, purpose="run_timeout")

    async def _run(self, args: list[Any]) -> None:
        try:
            result = await self.definition.run(self.host.instance, *args)
            close: Close = CompleteWorkflow(result=self._converter.to_payload(result))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001
            self._end(error)
        else:
            self.ledger.finish(close)

    def _end(self, error: BaseException) -> None:
        if self.host.loop.is_gone:
            return
        if self.host.cancellation_reason is not None and is_cancelled_exception(error):
            text = self.host.cancellation_reason or "Workflow cancelled"
            self.ledger.finish(CancelWorkflow(failure=Failure(message=text, kind="canceled")))
        elif isinstance(error, TaskCancelled):
            stray = Failure(message="cancelled by the workflow's own code", type="CancelledError")
            self.ledger.finish(FailWorkflow(failure=stray))
        else:
            self.ledger.finish(FailWorkflow(failure=to_failure(error, self._converter)))

    def _cancel(self, event: ev.WorkflowCancelRequested) -> None:
        if self.host.cancellation_reason is not None or self._is_again(event):
            return
        self.host.cancellation_reason = event.reason
        if self._main is not None:
            self.host.loop.call_soon(self._main.cancel)

    def _terminate(self, event: ev.WorkflowTerminateRequested) -> None:
        text = event.reason or "Workflow terminated"
        failure = Failure(message=text, kind="terminated", details=event.details)
        self.ledger.finish(TerminateWorkflow(failure=failure))

    def _signal(self, event: ev.WorkflowSignaled) -> None:
        if self._is_again(event):
            return
        if self._main is None:
            # Its handler runs before the workflow's own code, as one that came with the start.
            self._early.append(event)
        else:
            self._take_signal(event)

    def _take_signal(self, event: ev.WorkflowSignaled) -> None:
        handler = self.definition.signals.get(event.name)
        if handler is None:
            self._buffered.setdefault(event.name, []).append(event)
            return
        try:
            values = handler.signature.decode(event.args, self._converter, f"signal {event.name!r}")
        except InvalidInputError as error:
            self.ledger.add(RejectSignal(eid=event.eid, name=event.name, reason=str(error)))
            return
        self.host.handlers_under_way += 1
        task = self.host.loop.create_task(
            self._handle(handler, values), name=f"signal-{event.name}"
        )
        task.add_done_callback(self._handler_is_done)

    def _handler_is_done(self, _: object) -> None:
        self.host.handlers_under_way -= 1

    async def _handle(self, handler: HandlerDefinition, values: list[Any]) -> None:
        try:
            returned = handler.function(self.host.instance, *values)
            if isinstance(returned, Awaitable):
                await returned
        except (TaskCancelled, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001
            self._end(error)

    @property
    def unhandled_signals(self) -> list[str]:
        """Names of signals that no handler took."""
        return sorted(self._buffered)

    def _timer_fired(self, event: ev.TimerFired) -> None:
        timer = self.ledger.timers.get(event.n)
        if timer is None:
            return
        if self.host.instant < event.due:
            # A leader with a fast clock fired it, and its schedule is used up: it is armed again.
            self.ledger.add(timer.command)
            return
        del self.ledger.timers[event.n]
        timer.fire()

    # activities

    def _activity_started(self, event: ev.ActivityStarted) -> None:
        activity = self.ledger.activities.get(event.n)
        if activity is not None and activity.start_timer:
            self.ledger.cancel_timer(activity.start_timer)
            activity.start_timer = 0

    def _attempt_failed(self, event: ev.ActivityAttemptFailed) -> None:
        activity = self.ledger.activities.get(event.n)
        if activity is None or activity.retry_timer or event.attempt < activity.attempt:
            return
        if activity.start_timer:
            self.ledger.cancel_timer(activity.start_timer)
            activity.start_timer = 0
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

    def _activity_completed(self, event: ev.ActivityCompleted) -> None:
        self._activity_ended(event, own(event.result), 0)

    def _activity_failed(self, event: ev.ActivityFailed) -> None:
        self._activity_ended(event, event.failure, event.retry_state)

    def _activity_canceled(self, event: ev.ActivityCanceled) -> None:
        failure = Failure(message="Cancelled", kind="canceled", details=event.details)
        self._activity_ended(event, failure, 0)

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

    _STEPS: ClassVar[Mapping[type, Any]] = {
        ev.WorkflowStarted: _start,
        ev.WorkflowSignaled: _signal,
        ev.WorkflowCancelRequested: _cancel,
        ev.WorkflowTerminateRequested: _terminate,
        ev.TimerFired: _timer_fired,
        ev.ActivityStarted: _activity_started,
        ev.ActivityAttemptFailed: _attempt_failed,
        ev.ActivityCompleted: _activity_completed,
        ev.ActivityFailed: _activity_failed,
        ev.ActivityCanceled: _activity_canceled,
    }

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
