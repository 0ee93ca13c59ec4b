"""The durable front door: what a request says, and every refusal with its reason."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from scenarios.doors.door import Door, at_the_door, letters_of
from scenarios.doors.world import close, entry_of, events_of, identities_of, take_up

from perdure.core.durations import SECOND
from perdure.core.events import (
    WorkflowCancelRequested,
    WorkflowSignaled,
    WorkflowStarted,
)
from perdure.core.ids import encode_token, run_id_for


def test_a_start_says_everything_in_its_body() -> None:
    body = b"""{"id": "order-1", "args": [ {"a": 1}, "b" ], "task_queue": "big", "memo": {"k": [1]},
        "search_attributes": {"Customer": "x", "Tags": ["a", "b"]}, "timeout": "1h30m",
        "id_policy": "reject_duplicate"}"""

    async def scenario(door: Door) -> None:
        headers = {
            "traceparent": "00-1-2-03",
            "Perdure-Sender": "shop",
            "perdure-sent-at": "2026-01-01T00:00:00Z",
        }
        outcome = await door.ask("start", "Order", body=body, headers=headers)
        entry, _ = await entry_of(door.backend)
        assert outcome == {
            "id": "order-1",
            "run_id": entry.run,
            "status": "started",
            "ok": True,
        }
        (event,) = await events_of(door.backend, queue="big")
        assert isinstance(event, WorkflowStarted)
        assert [bytes(arg) for arg in event.args] == [b'{"a":1}', b'"b"']
        assert bytes(event.memo["k"]) == b"[1]"
        assert bytes(event.search_attributes["Tags"]) == b'["a","b"]'
        assert event.execution_timeout == 5_400 * SECOND
        assert event.headers == {
            "traceparent": "00-1-2-03",
            "perdure-sender": "shop",
            "perdure-sent-at": "2026-01-01T00:00:00Z",
        }
        assert entry.run == run_id_for(event.request_id, event.requested_at)

    at_the_door(scenario)


@pytest.mark.parametrize(
    ("body", "headers", "args"),
    [
        (b"", {}, []),
        (b"{}", {}, []),
        (b'{"input": "x"}', {}, [b'"x"']),
        (b'{"input": ["x", 2]}', {}, [b'"x"', b"2"]),
        (b'{"args": [[1, 2]]}', {}, [b"[1,2]"]),
        (b'{"input": null}', {}, [b"null"]),
        (b'["a", {"b": 1.50}]', {"Perdure-Args": "many"}, [b'"a"', b'{"b":1.50}']),
    ],
)
def test_arguments_of_a_start(body: bytes, headers: dict[str, str], args: list[bytes]) -> None:
    async def scenario(door: Door) -> None:
        assert (await door.ask("start", "Order", "order-1", body=body, headers=headers))["ok"]
        (event,) = await events_of(door.backend)
        assert isinstance(event, WorkflowStarted)
        assert [bytes(arg) for arg in event.args] == args

    at_the_door(scenario)


def test_where_the_id_of_a_start_comes_from() -> None:
    async def scenario(door: Door) -> None:
        async def started_as(*tokens: str, **more: Any) -> str:
            outcome = await door.ask("start", *tokens, **more)
            assert outcome["ok"], outcome
            return outcome["id"]

        assert await started_as("Order", encode_token("order:1")) == "order:1"
        assert await started_as("Order", "o-2", body=b'{"id": "o-2"}') == "o-2"
        assert await started_as("Order", body=b'{"id": "o-3"}') == "o-3"
        assert await started_as("Order", headers={"Nats-Msg-Id": "o-4"}) == "o-4"
        assert await started_as("Order", headers={"Perdure-Request-Id": "r"}) == "Order-r"
        seq = await door.send("start", "Order")
        assert (await door.replies.get())["id"] == f"Order-{seq}"

    at_the_door(scenario)


def test_one_request_id_is_one_run_however_often_it_is_published() -> None:
    async def scenario(door: Door) -> None:
        headers = {"Perdure-Request-Id": "r-1"}
        first = await door.ask("start", "Order", "order-1", headers=headers)
        await asyncio.sleep(300)
        assert await door.ask("start", "Order", "order-1", headers=headers) == first
        await take_up(door.backend)
        for _ in range(2):
            await door.ask("signal", "order-1", "go", headers={"Perdure-Request-Id": "s-1"})
            await asyncio.sleep(300)
        assert await identities_of(door.backend) == [
            f"start:{first['run_id']}",
            "ext:request:s-1",
        ]

    at_the_door(scenario)


def test_a_taken_id_is_refused_unless_the_policy_says_otherwise() -> None:
    async def scenario(door: Door) -> None:
        first = await door.ask("start", "Order", "order-1")
        refused = await door.ask("start", "Order", "order-1", body=b'{"input": 1}')
        assert (refused["ok"], refused["code"]) == (False, "already_started")
        (letter,) = await letters_of(door.backend)
        assert (letter["kind"], letter["reason"]) == ("start", "already_started")
        assert letter["body"] == {"input": 1}
        existing = await door.ask(
            "start", "Order", "order-1", body=b'{"id_policy": "use_existing"}'
        )
        assert existing == first | {"status": "existing"}

    at_the_door(scenario)


@pytest.mark.parametrize(
    ("body", "headers", "args"),
    [
        (b"", {}, []),
        (b"true", {}, [b"true"]),
        (b' {"a" : [1, 2]}\n', {}, [b'{"a":[1,2]}']),
        (b"[1,2]", {}, [b"[1,2]"]),
        (b"[1,2]", {"Perdure-Args": "many"}, [b"1", b"2"]),
        ('{"é": "\U0001f600"}'.encode(), {}, ['{"é":"\U0001f600"}'.encode()]),
    ],
)
def test_arguments_of_a_signal(body: bytes, headers: dict[str, str], args: list[bytes]) -> None:
    async def scenario(door: Door) -> None:
        started = await door.ask("start", "Order", "order-1")
        more = {"Perdure-Sender": "me", "Perdure-Sent-At": "12", "traceparent": "t", **headers}
        outcome = await door.ask("signal", "order-1", "go", body=body, headers=more)
        assert outcome == started | {"status": "signaled"}
        event = (await events_of(door.backend))[-1]
        assert isinstance(event, WorkflowSignaled)
        assert [bytes(arg) for arg in event.args] == args
        assert (event.name, event.sender, event.sent_at) == ("go", "me", 12)
        assert event.headers == {"traceparent": "t"}

    at_the_door(scenario)


def test_an_outsider_cannot_forge_a_reference_to_a_blob() -> None:
    async def scenario(door: Door) -> None:
        forged = b'{"$payload":{"encoding":"blob/ref","metadata":{"key":"other/run/x","size":1}}}'
        await door.ask("start", "Order", "order-1")
        await door.ask("signal", "order-1", "go", body=forged)
        event = (await events_of(door.backend))[-1]
        assert isinstance(event, WorkflowSignaled)
        envelope = msgspec.json.decode(event.args[0])["$payload"]
        assert envelope["encoding"] == "json/plain"
        assert base64.b64decode(envelope["data"]) == forged

    at_the_door(scenario)


def test_a_cancel_request_carries_its_reason() -> None:
    async def scenario(door: Door) -> None:
        started = await door.ask("start", "Order", "order-1")
        outcome = await door.ask("cancel", "order-1", body=b'{"reason": "no stock"}')
        assert outcome == started | {"status": "cancel_requested"}
        assert (await door.ask("cancel", "order-1"))["ok"]
        events = [
            e for e in await events_of(door.backend) if isinstance(e, WorkflowCancelRequested)
        ]
        assert [event.reason for event in events] == ["no stock", ""]

    at_the_door(scenario)


BAD: list[tuple[str, tuple[str, ...], bytes, dict[str, str], str]] = [
    ("start", ("Order", "o"), b"{", {}, "body"),
    ("start", ("Order", "o"), b"\xff\xfe", {}, "body"),
    ("start", ("Order", "o"), b"[1]", {}, "body"),
    ("start", ("Order", "o"), b'"text"', {}, "body"),
    ("start", ("Order", "o"), b"[" * 100_000, {}, "body"),
    ("start", ("Order", "o"), b'{"inputs": 1}', {}, "inputs"),
    ("start", ("Order", "o"), b'{"args": 1}', {}, "args"),
    ("start", ("Order", "o"), b'{"args": [], "input": 1}', {}, "input"),
    ("start", ("Order", "o"), b'{"id": 7}', {}, "id"),
    ("start", ("Order", "o"), b'{"id": "p"}', {}, "id"),
    ("start", ("Order",), b'{"id": ""}', {}, "id"),
    ("start", ("Order",), b'{"id": "%s"}' % (b"x" * 513), {}, "id"),
    ("start", ("Order",), b'{"id": "a\\nb"}', {}, "id"),
    ("start", ("Order", "o"), b'{"task_queue": 1}', {}, "task_queue"),
    ("start", ("Order", "o"), b'{"task_queue": "a\\u0000"}', {}, "task_queue"),
    ("start", ("Order", "o"), b'{"memo": []}', {}, "memo"),
    ("start", ("Order", "o"), b'{"search_attributes": {"a": {}}}', {}, "search_attributes"),
    ("start", ("Order", "o"), b'{"timeout": "soon"}', {}, "timeout"),
    ("start", ("Order", "o"), b'{"timeout": -1}', {}, "timeout"),
    ("start", ("Order", "o"), b'{"timeout": 1e300}', {}, "timeout"),
    ("start", ("Order", "o"), b'{"id_policy": "maybe"}', {}, "id_policy"),
    ("start", ("Order", "o"), b"{}", {"Perdure-Args": "some"}, "Perdure-Args"),
    ("start", ("Order", "o"), b"{}", {"Perdure-Args": "many"}, "body"),
    ("start", ("Order", "o", "p"), b"", {}, "subject"),
    ("start", ("=41", "o"), b"", {}, "subject"),
    ("start", (encode_token("a\nb"), "o"), b"", {}, "workflow type"),
    ("signal", ("o",), b"", {}, "subject"),
    ("signal", ("o", "go"), b"nonsense", {}, "body"),
    ("signal", ("o", "go"), b"NaN", {}, "body"),
    ("signal", ("o", "go"), b"1 2", {}, "body"),
    ("signal", ("o", "go"), b"1", {"Perdure-Sent-At": "noon"}, "Perdure-Sent-At"),
    ("signal", ("o", "go"), b"1", {"Perdure-Request-Id": "a\tb"}, "Perdure-Request-Id"),
    ("cancel", ("o",), b'{"why": 1}', {}, "why"),
    ("cancel", ("o",), b'{"reason": 1}', {}, "reason"),
    ("cancel", ("o", "p"), b"", {}, "subject"),
]


@pytest.mark.parametrize(("kind", "tokens", "body", "headers", "field"), BAD)
def test_what_can_never_work_is_refused_and_kept(
    kind: str, tokens: tuple[str, ...], body: bytes, headers: dict[str, str], field: str
) -> None:
    async def scenario(door: Door) -> None:
        outcome = await door.ask(kind, *tokens, body=body, headers=headers)
        assert (outcome["ok"], outcome["code"], outcome["field"]) == (False, "invalid_input", field)
        (letter,) = await letters_of(door.backend)
        assert (letter["kind"], letter["reason"], letter["field"]) == (kind, "invalid_input", field)
        assert letter["message"] == outcome["message"]
        assert (letter["tokens"], letter["ingress_seq"]) == (list(tokens), 1)
        kept = letter.get("body_base64")
        assert (
            base64.b64decode(kept) == body
            if kept
            else letter.get("body") == (msgspec.json.decode(body) if body else None)
        )
        assert [entry async for entry in door.backend.state.scan()] == []
        assert await door.backend.ingress.settled() == 1

    at_the_door(scenario)


def test_an_event_too_large_for_the_log_is_refused() -> None:
    async def scenario(door: Door) -> None:
        memo = {f"m{n}": "x" * 150_000 for n in range(6)}
        body = msgspec.json.encode({"memo": memo})
        outcome = await door.ask("start", "Order", "order-1", body=body)
        assert (outcome["code"], outcome["field"]) == ("invalid_input", "args")
        assert "the limit is 900000" in outcome["message"]

    at_the_door(scenario)


def test_a_signal_to_a_closed_workflow_is_dead_lettered_at_once() -> None:
    async def scenario(door: Door) -> None:
        await door.ask("start", "Order", "order-1")
        await close(door.backend)
        outcome = await door.ask("signal", "order-1", "go")
        assert outcome["code"] == "workflow_closed"
        (letter,) = await letters_of(door.backend)
        assert letter["reason"] == "workflow_closed"

    at_the_door(scenario)
