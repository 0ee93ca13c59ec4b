"""Drives one run of a workflow by hand: events in, commands out, and every replay held against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from perdure.authoring.definitions import definition_of
from perdure.converter import DataConverter
from perdure.core import commands as co
from perdure.core import events as ev
from perdure.core.definitions import HandlerDefinition, Signature, WorkflowDefinition
from perdure.core.durations import MILLISECOND, SECOND
from perdure.core.failures import Failure, to_exception
from perdure.core.machine import Instance

RUN = "00000000-0000-7000-8000-000000000001"
START = 1_790_000_000 * SECOND
CONVERTER = DataConverter.default().payload_converter
ANYTHING = Signature(variadic=True)
_encode = msgspec.json.Encoder().encode


class Plain:
    """The workflow object where a test needs none of its own."""


def flow(
    run: Callable[..., Any],
    *,
    cls: type = Plain,
    signals: Mapping[str, Callable[..., Any]] | None = None,
    queries: Mapping[str, Callable[..., Any]] | None = None,
    signature: Signature = ANYTHING,
    handler_signature: Signature = ANYTHING,
    init_takes_args: bool = False,
) -> WorkflowDefinition:
    """A workflow out of functions, which may be local to a test."""

    def handlers(given: Mapping[str, Callable[..., Any]] | None) -> dict[str, HandlerDefinition]:
        return {k: HandlerDefinition(k, v, handler_signature) for k, v in (given or {}).items()}

    return WorkflowDefinition(
        name="Test",
        cls=cls,
        run=run,
        signature=signature,
        init_takes_args=init_takes_args,
        signals=handlers(signals),
        queries=handlers(queries),
    )


def pack(value: Any) -> msgspec.Raw:
    return CONVERTER.to_payload(value)


def encoded(commands: Sequence[co.Command]) -> bytes:
    return _encode(commands)


@dataclass
class Step:
    """One event of the log and what was decided on it."""

    seq: int
    timestamp: int
    event: ev.Event
    commands: list[co.Command] = field(default_factory=list[co.Command])


class Driver:
    """One run. Times are seconds after its start; each event moves the clock by a millisecond
    unless it says ``at``."""

    def __init__(
        self, definition: WorkflowDefinition | Any, *args: Any, run: str = RUN, **started: Any
    ) -> None:
        self.definition: WorkflowDefinition = (
            definition if isinstance(definition, WorkflowDefinition) else definition_of(definition)
        )
        self.started = ev.WorkflowStarted(
            run=run,
            workflow_type=self.definition.name,
            args=[pack(arg) for arg in args],
            **started,
        )
        self.log: list[Step] = []
        self.now = START
        self._external = 0
        self.instance = self.fresh()

    def fresh(self) -> Instance:
        return Instance(
            self.definition,
            self.started,
            START,
            workflow_id="wf-1",
            task_queue="default",
            namespace="default",
            converter=CONVERTER,
        )

    # events

    def start(self) -> list[co.Command]:
        return self.feed(self.started, at=0)

    def feed(self, event: ev.Event, *, at: float | None = None) -> list[co.Command]:
        """Apply ``event`` and log it."""
        self.now = self.now + MILLISECOND if at is None else START + round(at * SECOND)
        commands = self.instance.apply(event, timestamp=self.now)
        self.log.append(Step(len(self.log) + 1, self.now, event, commands))
        return commands

    def done(self, n: int, result: Any = None, *, at: float | None = None, **fields: Any) -> Any:
        fields.setdefault("activity_type", self.activity(n))
        event = ev.ActivityCompleted(run=RUN, n=n, attempt=1, result=pack(result), **fields)
        return self.feed(event, at=at)

    def failed(
        self, n: int, failure: Failure | str, *, retry_state: int = 4, attempt: int = 1
    ) -> list[co.Command]:
        if isinstance(failure, str):
            failure = Failure(message=failure)
        return self.feed(
            ev.ActivityFailed(
                run=RUN,
                n=n,
                attempt=attempt,
                activity_type=self.activity(n),
                failure=failure,
                retry_state=retry_state,
            )
        )

    def backoff(self, n: int, *, attempt: int, delay: float, text: str = "oops") -> Any:
        failure = Failure(message=text)
        return self.feed(
            ev.ActivityAttemptFailed(
                run=RUN, n=n, attempt=attempt, failure=failure, delay=round(delay * SECOND)
            )
        )

    def canceled(self, n: int) -> list[co.Command]:
        return self.feed(ev.ActivityCanceled(run=RUN, n=n, attempt=1))

    def fire(self, n: int) -> list[co.Command]:
        """Timer ``n`` fires at its due time."""
        due = self.due(n)
        return self.feed(ev.TimerFired(run=RUN, n=n, due=due), at=(due - START) / SECOND)

    def signal(self, name: str, *args: Any, eid: str = "") -> list[co.Command]:
        self._external += 1
        return self.feed(
            ev.WorkflowSignaled(
                eid=eid or f"e{self._external}", name=name, args=[pack(arg) for arg in args]
            )
        )

    def cancel(self, reason: str = "") -> list[co.Command]:
        self._external += 1
        return self.feed(ev.WorkflowCancelRequested(eid=f"e{self._external}", reason=reason))

    def terminate(self, reason: str = "") -> list[co.Command]:
        self._external += 1
        return self.feed(ev.WorkflowTerminateRequested(eid=f"e{self._external}", reason=reason))

    # what became of it

    @property
    def commands(self) -> list[co.Command]:
        return [command for step in self.log for command in step.commands]

    def activity(self, n: int) -> str:
        return next(
            c.activity_type
            for c in self.commands
            if isinstance(c, co.ScheduleActivity) and c.n == n
        )

    def due(self, n: int) -> int:
        return next(c.due for c in self.commands if isinstance(c, co.StartTimer) and c.n == n)

    def result(self) -> Any:
        """The run's result; raises what it failed with."""
        close = self.instance.close
        assert close is not None, "the run is open"
        if isinstance(close, co.CompleteWorkflow):
            return CONVERTER.from_payload(close.result)
        raise to_exception(close.failure, CONVERTER)

    def query(self, name: str, *args: Any) -> Any:
        return CONVERTER.from_payload(self.instance.query(name, [pack(arg) for arg in args]))

    # replay

    def replayed(self, prefix: int | None = None, *, batch: int = 1) -> Instance:
        """A fresh instance after the first ``prefix`` events, ``batch`` of them to a record."""
        instance = self.fresh()
        steps = self.log[: len(self.log) if prefix is None else prefix]
        for first in range(0, len(steps), batch):
            record = steps[first : first + batch]
            instance.replay(
                [(step.seq, step.timestamp, step.event) for step in record],
                [command for step in record for command in step.commands],
            )
        return instance

    def check(self, prefixes: Sequence[int] | None = None, *, batch: int = 1) -> None:
        """Replay each prefix, go on live from there, and compare every command byte for byte."""
        for prefix in range(len(self.log) + 1) if prefixes is None else prefixes:
            instance = self.replayed(prefix, batch=batch)
            for step in self.log[prefix:]:
                again = instance.apply(step.event, timestamp=step.timestamp)
                assert encoded(again) == encoded(step.commands), f"event {step.seq} after {prefix}"
            assert encoded([instance.close] if instance.close else []) == encoded(
                [self.instance.close] if self.instance.close else []
            )
            instance.dispose()


def kinds(commands: Sequence[co.Command]) -> list[str]:
    """The commands as replay knows them."""
    return [co.identity(command) for command in commands]
