"""Names and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.jetstream.subjects import (
    PARTITIONS,
    Subjects,
    partition_of_slot,
    slots_of_partition,
)
from perdure.core.ids import SLOTS
from perdure.ports.addresses import Address, Lane, TaskKey, TimerKey

NAMES = Subjects("default")
DEEP = Subjects("team-a", prefix="acme.flows", stream_prefix="ACME")
TEXT = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=20)
PLACES = st.sampled_from((NAMES, DEEP))


@given(PLACES, TEXT, TEXT, st.sampled_from(list(Lane)))
def test_lanes_come_back(names: Subjects, queue: str, workflow_id: str, lane: Lane) -> None:
    address = Address(queue, workflow_id)
    subject = names.lane(address, lane)
    assert names.parse_lane(subject) == (address, lane)
    assert subject.isascii()
    assert " " not in subject


@given(PLACES, TEXT, TEXT, TEXT, st.integers(min_value=0))
def test_tasks_and_timers_come_back(names: Subjects, queue: str, wf: str, run: str, n: int) -> None:
    key = TaskKey(queue, wf, run, n)
    assert names.parse_task(names.task(key)) == key
    assert names.parse_timer(names.timer(TimerKey(Address(queue, wf), run, n))) == (wf, run, n)


@given(PLACES, TEXT, TEXT)
def test_the_others_come_back(names: Subjects, one: str, two: str) -> None:
    assert names.parse_archive(names.archive(one, two)) == (one, two)
    assert names.parse_event(names.event(one, two)) == (one, two)
    assert names.parse_dead_letter(names.dead_letter(one, two)) == (one, two)
    assert names.parse_state_notice(names.state_notice(one)) == one
    assert names.parse_state_key(names.state_key(one)) == one


def test_the_names_written_down() -> None:
    address = Address("default", "order:1")
    assert NAMES.lane(address, Lane.EXTERNAL) == (
        f"perdure.default._wf.default.{address.slot:02d}.order=3A1.in.ext"
    )
    assert NAMES.lane(address, Lane.HISTORY).endswith(".order=3A1.hist")
    assert NAMES.task(TaskKey("q", "w", "r", 7)) == "perdure.default._task.q.w.r.7"
    assert NAMES.timer(TimerKey(address, "r", 7)) == "perdure.default._timer.order=3A1.r.7"
    assert NAMES.beat(TaskKey("q", "w", "r", 7)) == "perdure.default._beat.w.r.7"
    assert NAMES.log_stream == "PERDURE_default_LOG"
    assert NAMES.state_bucket == "perdure_default_state"
    assert NAMES.log_consumer("my queue", 3) == "my=20queue-3"
    assert NAMES.start("Order") == "perdure.default.start.Order"
    assert NAMES.start("Order", "a.b") == "perdure.default.start.Order.a=2Eb"


def test_requests_keep_their_tokens_as_published() -> None:
    parse = NAMES.parse_ingress
    assert parse("perdure.default.start.Order.a=2Eb") == ("start", ("Order", "a=2Eb"))
    assert parse("perdure.default.signal.w.go") == ("signal", ("w", "go"))
    assert parse("perdure.default.cancel.w") == ("cancel", ("w",))


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "perdure.default",
        "perdure.default._wf.q.01.w",
        "perdure.default._wf.q.01.w.in",
        "perdure.default._wf.q.01.w.in.other",
        "perdure.default._wf.q.01.w.in.ext.more",
        "perdure.other._wf.q.01.w.in.ext",
        "perdure.default._task.q.w.r",
        "perdure.default._task.q.w.r.x",
        "perdure.default._cron.x",
    ],
)
def test_foreign_subjects_are_refused(subject: str) -> None:
    for parse in (NAMES.parse_lane, NAMES.parse_task, NAMES.parse_timer, NAMES.parse_ingress):
        with pytest.raises(ValueError):
            parse(subject)


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_partitions_cover_every_slot_once(partitions: int) -> None:
    covered = [slot for n in range(partitions) for slot in slots_of_partition(n, partitions)]
    assert covered == list(range(SLOTS))
    for n in range(partitions):
        for slot in slots_of_partition(n, partitions):
            assert partition_of_slot(slot, partitions) == n
    filters = NAMES.partition_filters("q", 0, partitions)
    assert filters[0] == "perdure.default._wf.q.00.*.in.*"
    assert len(filters) == SLOTS // partitions


@pytest.mark.parametrize(("partition", "partitions"), [(0, 3), (4, 4), (-1, 4), (0, 0)])
def test_impossible_partitions(partition: int, partitions: int) -> None:
    with pytest.raises(ValueError, match="partition"):
        slots_of_partition(partition, partitions)
