"""What a run has open and decides."""

from perdure.core.commands import (
    CancelActivity,
    CancelTimer,
    CompleteWorkflow,
    FailWorkflow,
    RejectSignal,
    ScheduleActivity,
    StartTimer,
)
from perdure.core.failures import Failure
from perdure.core.ledger import Ledger, OpenActivity


def activity(ledger: Ledger) -> OpenActivity:
    command = ScheduleActivity(
        n=ledger.next_number(), activity_type="a", activity_id="1", task_queue="q"
    )
    opened = OpenActivity(command, lambda *outcome: None)
    ledger.open_activity(opened)
    return opened


def timer(ledger: Ledger) -> int:
    return ledger.start_timer(5, lambda: None, duration=5)


def test_numbers_are_drawn_also_for_what_is_taken_back() -> None:
    ledger = Ledger()
    ledger.cancel_timer(timer(ledger))
    assert ledger.take() == []
    assert timer(ledger) == 2


def test_a_timer_is_taken_back_or_cancelled() -> None:
    ledger = Ledger()
    first, second = timer(ledger), timer(ledger)
    ledger.cancel_timer(first)
    assert ledger.take() == [StartTimer(n=second, due=5, duration=5)]
    ledger.cancel_timer(second)
    ledger.cancel_timer(second)
    assert ledger.take() == [CancelTimer(n=2)]


def test_an_activity_is_cancelled_once_and_forgotten_once_more() -> None:
    ledger = Ledger()
    n = activity(ledger).command.n
    ledger.take()
    ledger.cancel_activity(n, forget=False)
    ledger.cancel_activity(n, forget=False)
    ledger.cancel_activity(n, forget=True)
    ledger.cancel_activity(99, forget=True)
    assert ledger.take() == [CancelActivity(n=n), CancelActivity(n=n, forget=True)]


def test_settling_takes_the_deadlines_along() -> None:
    ledger = Ledger()
    opened = activity(ledger)
    opened.close_timer, opened.retry_timer = timer(ledger), timer(ledger)
    ledger.take()
    assert ledger.settle_activity(1) is opened
    assert ledger.settle_activity(1) is None
    assert ledger.take() == [CancelTimer(n=2), CancelTimer(n=3)]


def test_the_first_close_wins_and_is_last() -> None:
    ledger = Ledger()
    activity(ledger)
    timer(ledger)
    ledger.take()
    ledger.finish(CompleteWorkflow())
    ledger.finish(FailWorkflow(failure=Failure(message="late")))
    timer(ledger)
    activity(ledger)
    ledger.add(RejectSignal(eid="e", name="n", reason="r"))
    assert ledger.take() == [
        CancelActivity(n=1, forget=True),
        CancelTimer(n=2),
        CompleteWorkflow(),
    ]
    assert not ledger.timers and not ledger.activities
