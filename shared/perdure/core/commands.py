"""Everything that a workflow can decide. The engine performs what a recorded turn holds.

``n`` numbers a run's commands from 1: with the run id it is the identity of an activity or a
timer for ever. Replay compares :func:`identity`, not arguments or timeouts, so that a deployment
may change those for commands to come.
"""

from typing import Literal

import msgspec

from perdure.core.failures import Failure
from perdure.core.payloads import NULL, Payload
from perdure.core.retry import RetryRule


class _Command(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", gc=False
):
    """Out of the garbage collector's sight, as are events and records: a value read from JSON holds
    no cycle, and a scheduler keeps tens of thousands."""


class ScheduleActivity(_Command, frozen=True, tag="schedule_activity"):
    """Put a task on ``task_queue``. Attempts after a long backoff are RetryActivity."""

    n: int
    activity_type: str
    activity_id: str
    task_queue: str
    args: list[Payload] = []
    schedule_to_close: int = 0
    schedule_to_start: int = 0
    start_to_close: int = 0
    heartbeat: int = 0
    retry: RetryRule = RetryRule()
    scheduled_at: int = 0
    headers: dict[str, str] = {}
    summary: str = ""


class RetryActivity(_Command, frozen=True, tag="retry_activity"):
    """The next attempt of activity ``n`` after a backoff that the core timed."""

    n: int
    attempt: int
    last_failure: Failure | None = None
    heartbeat: list[Payload] = []


class CancelActivity(_Command, frozen=True, tag="cancel_activity"):
    """Replace the task by a cancellation; ``forget`` when nobody waits for its outcome."""

    n: int
    forget: bool = False


TimerPurpose = Literal["sleep", "run_timeout", "schedule_to_close", "schedule_to_start", "retry"]


class StartTimer(_Command, frozen=True, tag="start_timer"):
    """Fire at ``due``. ``of`` is the activity that a deadline or a backoff belongs to."""

    n: int
    due: int
    duration: int = 0
    purpose: TimerPurpose = "sleep"
    of: int = 0
    summary: str = ""


class CancelTimer(_Command, frozen=True, tag="cancel_timer"):
    n: int


class RejectSignal(_Command, frozen=True, tag="reject_signal"):
    """A signal whose arguments do not decode is dead-lettered; the run goes on."""

    eid: str
    name: str
    reason: str


class CompleteWorkflow(_Command, frozen=True, tag="complete_workflow"):
    result: Payload = NULL


class FailWorkflow(_Command, frozen=True, tag="fail_workflow"):
    """Also the end by a timeout (``failure.kind`` is ``timeout``)."""

    failure: Failure


class CancelWorkflow(_Command, frozen=True, tag="cancel_workflow"):
    """The run ends as canceled."""

    failure: Failure


class TerminateWorkflow(_Command, frozen=True, tag="terminate_workflow"):
    failure: Failure


Close = CompleteWorkflow | FailWorkflow | CancelWorkflow | TerminateWorkflow

Command = (
    ScheduleActivity
    | RetryActivity
    | CancelActivity
    | StartTimer
    | CancelTimer
    | RejectSignal
    | CompleteWorkflow
    | FailWorkflow
    | CancelWorkflow
    | TerminateWorkflow
)

CLOSES = (CompleteWorkflow, FailWorkflow, CancelWorkflow, TerminateWorkflow)


def identity(command: Command) -> str:
    """What replay compares: the kind, the number, and what the command is about."""
    match command:
        case ScheduleActivity():
            return f"schedule_activity {command.n}: {command.activity_type}"
        case RetryActivity():
            return f"retry_activity {command.n}: attempt {command.attempt}"
        case CancelActivity():
            return f"cancel_activity {command.n}"
        case StartTimer():
            return f"start_timer {command.n}: {command.purpose}"
        case CancelTimer():
            return f"cancel_timer {command.n}"
        case RejectSignal():
            return f"reject_signal {command.name}"
        case CompleteWorkflow():
            return "complete_workflow"
        case FailWorkflow():
            return f"fail_workflow: {command.failure.kind}"
        case CancelWorkflow():
            return "cancel_workflow"
        case TerminateWorkflow():  # pragma: no branch
            return "terminate_workflow"
