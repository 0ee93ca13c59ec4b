"""Recorded and produced commands held against each other."""

import pytest

from perdure.core.commands import Command, CompleteWorkflow, StartTimer
from perdure.core.errors import NondeterminismError
from perdure.core.replay import compare

ONE = StartTimer(n=1, due=5)
TWO = StartTimer(n=2, due=6)


def test_arguments_and_times_may_differ() -> None:
    compare([ONE, TWO], [StartTimer(n=1, due=99, summary="new"), TWO], event=4)
    compare([], [], event=4)


@pytest.mark.parametrize(
    ("recorded", "produced", "expected", "actual"),
    [
        ([ONE], [TWO], "start_timer 1: sleep", "start_timer 2: sleep"),
        ([ONE, TWO], [ONE], "start_timer 2: sleep", "nothing"),
        ([ONE], [ONE, CompleteWorkflow()], "nothing", "complete_workflow"),
    ],
)
def test_the_first_difference_is_named(
    recorded: list[Command], produced: list[Command], expected: str, actual: str
) -> None:
    with pytest.raises(NondeterminismError) as error:
        compare(recorded, produced, event=4)
    assert (error.value.event, error.value.expected, error.value.actual) == (4, expected, actual)
    assert str(error.value) == (
        f"nondeterminism at event 4: the history has [{expected}], the code decided [{actual}]. "
        "The workflow's code changed in a way that its history does not fit; deploy the code that "
        "wrote it, or put the change behind workflow.patched(). The run is blocked, nothing is "
        "lost, and it goes on when fitting code comes."
    )
