"""What a run in memory keeps of its history."""

from typing import cast

import pytest

from perdure.core.events import WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.records import Record
from perdure.engine.history import AppliedEvent, Turn
from perdure.engine.scheduler.live import KEEP_BYTES, LiveRun
from perdure.ports.addresses import Stored

STARTED = WorkflowStarted(run="r", workflow_type="T")


@pytest.fixture
def live() -> LiveRun:
    # Only asked what it keeps: no code runs.
    instance = cast("Instance", None)
    return LiveRun(instance=instance, run="r", started=STARTED, started_at=0, tip=0)


def turn(k: int, size: int) -> Turn:
    half = size // 2
    event = AppliedEvent(2 * k + 1, 0, b"e" * half, None)
    record = Record(run="r", k=k, applied=[event.seq])
    return Turn(record, Stored(2 * k + 2, 0, b"r" * (size - half)), [event])


def test_few_turns_are_kept_for_the_archive(live: LiveRun) -> None:
    turns = [turn(k, KEEP_BYTES // 4) for k in range(4)]
    for one in turns:
        live.committed(one)
    assert live.turns == turns
    live.committed(turn(4, 1))
    assert live.turns is None
    assert (live.k, live.tip, live.named) == (5, 10, {1, 3, 5, 7, 9})


def test_a_first_turn_is_kept_whatever_its_size(live: LiveRun) -> None:
    live.committed(turn(0, 10 * KEEP_BYTES))
    assert live.has_one_turn
    live.committed(turn(1, 1))
    assert live.turns is None and not live.has_one_turn
