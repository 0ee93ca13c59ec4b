"""Large payloads go to blobs and come back; small ones cost nothing."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.core.commands import CompleteWorkflow, FailWorkflow, ScheduleActivity, StartTimer
from perdure.core.errors import SerializationError
from perdure.core.events import ActivityCompleted, ActivityFailed, TimerFired, WorkflowSignaled
from perdure.core.failures import Failure
from perdure.core.payloads import Payload
from perdure.core.tasks import ActivityTask
from perdure.engine.payload_slots import gather, scatter
from perdure.engine.payloads import PayloadStore, blob_prefix, is_ref, may_hold_ref
from perdure.ports.errors import TooLarge


class Blobs:
    """A blob store in a dict, which counts what it is asked."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.content: dict[str, bytes] = {}
        self.calls = 0
        self.limit = limit

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.sleep(0)
        self.calls += 1
        if len(data) > self.limit:
            raise TooLarge(f"more than {self.limit} bytes")
        assert self.content.setdefault(key, data) == data, "a key's content never changes"

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        self.calls += 1
        return self.content.get(key)

    async def delete(self, prefix: str) -> None:
        for key in [key for key in self.content if key.startswith(prefix)]:
            del self.content[key]


def text(size: int, fill: str = "x") -> Payload:
    return Payload(json.dumps(fill * (size - 2)).encode())


def finish[T](work: Awaitable[T]) -> T:
    async def wait() -> T:
        return await work

    return asyncio.run(wait())


def test_small_payloads_touch_no_store() -> None:
    blobs = Blobs()
    store = PayloadStore(blobs)
    payloads = [text(100), text(1000), Payload(b"null")]
    assert finish(store.offload(payloads, "id/run/1")) == payloads
    assert finish(store.restore(payloads)) == payloads
    assert blobs.calls == 0


def test_a_large_payload_becomes_a_reference_and_comes_back() -> None:
    blobs = Blobs()
    store = PayloadStore(blobs)
    payloads = [text(10), text(200_000), text(20)]
    moved = finish(store.offload(payloads, "id/run/1"))
    assert moved[0] == payloads[0]
    assert moved[2] == payloads[2]
    assert is_ref(moved[1])
    ref = msgspec.json.decode(moved[1])["$payload"]
    assert ref["encoding"] == "blob/ref"
    assert ref["metadata"]["size"] == 200_000
    assert ref["metadata"]["key"].startswith("id/run/1-1-")
    assert may_hold_ref(b"[" + bytes(moved[1]) + b"]")
    assert finish(store.restore(moved)) == payloads


def test_many_middling_payloads_are_moved_until_the_sum_fits() -> None:
    store = PayloadStore(Blobs())
    payloads = [text(100_000 + number) for number in range(10)]
    moved = finish(store.offload(payloads, "id/run/1"))
    assert sum(len(payload) for payload in moved) <= 512 * 1024
    assert 0 < sum(map(is_ref, moved)) < 10
    assert is_ref(moved[9])
    assert finish(store.restore(moved)) == payloads


def test_tiny_payloads_stay_however_many() -> None:
    store = PayloadStore(Blobs())
    payloads = [text(500)] * 2_000
    assert finish(store.offload(payloads, "id/run/1")) == payloads


def test_moving_twice_changes_nothing() -> None:
    blobs = Blobs()
    store = PayloadStore(blobs)
    once = finish(store.offload([text(200_000)], "id/run/1"))
    assert finish(store.offload([text(200_000)], "id/run/1")) == once
    assert finish(store.offload(once, "id/run/1", smallest=10)) == once
    assert len(blobs.content) == 1


def test_other_content_has_another_key() -> None:
    blobs = Blobs()
    store = PayloadStore(blobs)
    finish(store.offload([text(200_000, "a")], "id/run/1"))
    finish(store.offload([text(200_000, "b")], "id/run/1"))
    assert len(blobs.content) == 2


def test_too_large_names_size_and_limit() -> None:
    store = PayloadStore(Blobs(), max_payload=300_000)
    with pytest.raises(SerializationError, match=r"300001 bytes is above the limit of 300000"):
        finish(store.offload([text(300_001)], "id/run/1"))
    store = PayloadStore(Blobs(limit=10))
    with pytest.raises(SerializationError, match="more than the blob store takes") as error:
        finish(store.offload([text(200_000)], "id/run/1"))
    assert isinstance(error.value.cause, TooLarge)


def test_a_blob_that_is_gone_or_not_ours() -> None:
    blobs = Blobs()
    store = PayloadStore(blobs)
    moved = finish(store.offload([text(200_000)], blob_prefix("order:1", "run", "1")))
    assert finish(store.restore(moved, owner="order:1")) == [text(200_000)]
    with pytest.raises(SerializationError, match="does not belong to 'order'"):
        finish(store.restore(moved, owner="order"))
    blobs.content.clear()
    with pytest.raises(SerializationError, match="gone from the blob store"):
        finish(store.restore(moved))


@pytest.mark.parametrize(
    "text_of",
    [
        b'{"$payload":{"encoding":"json/plain","data":"e30="}}',
        b'{"$payload":{"encoding":"binary/plain","metadata":{},"data":""}}',
        b'{"encoding":"blob/ref"}',
        b'"blob/ref"',
        b"null",
    ],
)
def test_what_is_no_reference(text_of: bytes) -> None:
    assert not is_ref(Payload(text_of))


def test_events_commands_and_tasks() -> None:
    store = PayloadStore(Blobs())
    large = text(200_000)
    inner = Failure(message="inner", details=[large])
    failure = Failure(message="outer", details=[text(10)], cause=inner)
    structs: list[Any] = [
        ActivityCompleted(run="r", n=1, attempt=1, activity_type="a", result=large),
        ActivityFailed(run="r", n=1, attempt=1, activity_type="a", failure=failure, retry_state=2),
        WorkflowSignaled(eid="e", name="s", args=[large, text(5)]),
    ]
    for event in structs:
        moved = finish(store.offload_event(event, "id/run/1"))
        assert len(msgspec.json.encode(moved)) < 2_000
        assert finish(store.restore_event(moved, owner="id")) == event
    commands = [
        ScheduleActivity(n=1, activity_type="a", activity_id="1", task_queue="q", args=[large]),
        StartTimer(n=2, due=7),
        FailWorkflow(failure=failure),
        CompleteWorkflow(result=large),
    ]
    moved = finish(store.offload_commands(commands, "id/run/2"))
    assert len(msgspec.json.encode(moved)) < 3_000
    restored = [finish(store.restore_struct(command)) for command in moved]
    assert restored == commands


def test_structs_without_payloads_are_returned_as_they_are() -> None:
    store = PayloadStore(Blobs())
    fired = TimerFired(run="r", n=1, due=2)
    assert finish(store.offload_event(fired, "id/run/1")) is fired
    assert finish(store.restore_event(fired)) is fired


_PAYLOADS = st.lists(st.integers().map(lambda number: Payload(str(number).encode())), max_size=4)
_FAILURES = st.recursive(
    st.builds(Failure, message=st.just("m"), details=_PAYLOADS),
    lambda inner: st.builds(Failure, message=st.just("m"), details=_PAYLOADS, cause=inner),
    max_leaves=4,
)


@given(args=_PAYLOADS, details=_PAYLOADS, failure=st.none() | _FAILURES)
def test_scatter_puts_back_what_gather_took(
    args: list[Payload], details: list[Payload], failure: Failure | None
) -> None:
    task = ActivityTask(
        run="r",
        n=1,
        workflow_id="w",
        workflow_type="t",
        workflow_queue="q",
        activity_type="a",
        activity_id="1",
        task_queue="q",
        args=args,
        last_failure=failure,
        heartbeat_details=details,
    )
    found = gather(task)
    assert scatter(task, iter(found)) == task
    others = [Payload(f'"{number}"'.encode()) for number in range(len(found))]
    assert gather(scatter(task, iter(others))) == others
