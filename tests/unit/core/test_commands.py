"""What replay compares of each command."""

import pytest

from perdure.core import commands as co
from perdure.core.failures import Failure

F = Failure(message="m", kind="timeout")


@pytest.mark.parametrize(
    ("command", "identity"),
    [
        (
            co.ScheduleActivity(n=1, activity_type="a", activity_id="x", task_queue="q"),
            "schedule_activity 1: a",
        ),
        (co.RetryActivity(n=1, attempt=3), "retry_activity 1: attempt 3"),
        (co.CancelActivity(n=1), "cancel_activity 1"),
        (co.StartTimer(n=2, due=5, purpose="retry"), "start_timer 2: retry"),
        (co.CancelTimer(n=2), "cancel_timer 2"),
        (co.RejectSignal(eid="e", name="s", reason="r"), "reject_signal s"),
        (co.CompleteWorkflow(), "complete_workflow"),
        (co.FailWorkflow(failure=F), "fail_workflow: timeout"),
        (co.CancelWorkflow(failure=F), "cancel_workflow"),
        (co.TerminateWorkflow(failure=F), "terminate_workflow"),
    ],
)
def test_identities(command: co.Command, identity: str) -> None:
    assert co.identity(command) == identity
    assert isinstance(command, co.CLOSES) == ("workflow" in identity)
