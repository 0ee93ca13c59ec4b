"""The inbox's vocabulary: identities, and bytes of other builds."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core import events as ev
from perdure.core.failures import Failure

F = Failure(message="m")


@pytest.mark.parametrize(
    ("event", "identity"),
    [
        (ev.WorkflowStarted(run="r", workflow_type="T"), "start:r"),
        (ev.WorkflowSignaled(eid="5", name="s"), "ext:5"),
        (ev.WorkflowCancelRequested(eid="6"), "ext:6"),
        (ev.WorkflowTerminateRequested(eid="7"), "ext:7"),
        (ev.ActivityStarted(run="r", n=1, attempt=2), "r:1:2:started"),
        (ev.ActivityAttemptFailed(run="r", n=1, attempt=2, failure=F, delay=5), "r:1:2:attempt"),
        (ev.ActivityCompleted(run="r", n=1, attempt=2, activity_type="a"), "r:1:outcome"),
        (
            ev.ActivityFailed(run="r", n=1, attempt=2, activity_type="a", failure=F, retry_state=0),
            "r:1:outcome",
        ),
        (ev.ActivityCanceled(run="r", n=1, attempt=3), "r:1:outcome"),
        (ev.TimerFired(run="r", n=1, due=5), "r:1:fired"),
    ],
)
def test_identities(event: ev.Event, identity: str) -> None:
    assert ev.identity(event) == identity
    assert ev.decode_event(ev.encode_event(event)) == event


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"", ev.UnreadableEvent, "not an event: Input data was truncated"),
        (b"\xff", ev.UnreadableEvent, "not an event: "),
        (b"[]", ev.UnreadableEvent, "not an event: Expected `object`, got `array`"),
        (b"[" * 100_000, ev.UnreadableEvent, "not an event: "),
        (b'{"run":"r"}', ev.UnreadableEvent, "not an event: Object missing required field `type`"),
        (
            b'{"type":"timer_fired"}',
            ev.UnreadableEvent,
            "malformed timer_fired event: Object missing required field `run`",
        ),
        (
            b'{"type":"moon_rose"}',
            ev.NewerEvent,
            "unknown event type 'moon_rose': written by a newer build?",
        ),
        (
            b'{"type":"timer_fired","format":2}',
            ev.NewerEvent,
            "event of format 2; this build reads up to 1",
        ),
        (
            b'{"type":"timer_fired","run":"r","n":1,"due":5,"format":9}',
            ev.NewerEvent,
            "event of format 9; this build reads up to 1",
        ),
    ],
)
def test_bytes_of_other_builds_and_garbage(data: bytes, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as error:
        ev.decode_event(data)
    assert str(error.value).startswith(text)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises((ev.UnreadableEvent, ev.NewerEvent)):
        ev.decode_event(data)


def test_unknown_fields_of_a_known_type_are_left_out() -> None:
    event = ev.decode_event(b'{"type":"timer_fired","run":"r","n":1,"due":5,"color":"red"}')
    assert msgspec.json.decode(ev.encode_event(event)) == {
        "type": "timer_fired",
        "run": "r",
        "n": 1,
        "due": 5,
    }
