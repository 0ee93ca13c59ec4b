"""The doors on a real server: any NATS client at the front, the Python client behind it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import nats
import pytest
from scenarios.doors.client_workflows import Order, Shopping, Sleeper
from support.nats_server import running_server

from perdure.authoring.app import App
from perdure.client import Client, UnavailableError, WorkflowAlreadyStartedError
from perdure.converter import DataConverter
from perdure.engine.ingress import IngressDrain
from perdure.engine.scheduler import Scheduler

pytestmark = pytest.mark.integration

ORDER = Order("o-1", [1])


class World:
    """A namespace with a scheduler and a drainer, a client, and an outsider who speaks NATS alone."""

    def __init__(self, client: Client, outsider: Any, url: str) -> None:
        self.client = client
        self.outsider = outsider
        self.url = url

    async def publish(self, subject: str, body: Any, **headers: str) -> int:
        """As any program would: JetStream's acknowledgement is the receipt."""
        data = b"" if body is None else json.dumps(body).encode()
        receipt = await self.outsider.jetstream().publish(
            f"perdure.default.{subject}", data, headers=headers or None
        )
        return receipt.seq

    async def ask(self, subject: str, body: Any, **headers: str) -> dict[str, Any]:
        """Publish and wait for the outcome."""
        inbox = self.outsider.new_inbox()
        listening = await self.outsider.subscribe(inbox)
        await self.publish(subject, body, **{"Perdure-Reply-To": inbox, **headers})
        answer = await listening.next_msg(timeout=30)
        await listening.unsubscribe()
        return json.loads(answer.data)


def on_jetstream(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def whole(url: str) -> None:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await Client.connect(url))
            service = await stack.enter_async_context(await Client.connect(url))
            app = App(workflows=[Shopping, Sleeper])
            converter = DataConverter.default().payload_converter
            await stack.enter_async_context(Scheduler(service.backend, app, converter=converter))
            await stack.enter_async_context(IngressDrain(service.backend))
            outsider = await nats.connect(url)
            stack.push_async_callback(outsider.close)
            await scenario(World(client, outsider, url))

    with running_server(folder) as server:
        asyncio.run(whole(server.url))


def test_outsiders_and_the_client_speak_to_the_same_workflow(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        body = {"args": [{"id": "o-1", "lines": []}, 2]}
        started = await world.ask("start.Shopping.order=3A1", body)
        assert started | {"run_id": ""} == {
            "ok": True,
            "id": "order:1",
            "run_id": "",
            "status": "started",
        }
        handle = world.client.get_workflow_handle_for(Shopping.run, "order:1")
        signaled = await world.ask("signal.order=3A1.approve", "anna")
        assert signaled == started | {"status": "signaled"}
        await handle.signal(Shopping.approve, "bob")
        assert await handle.result(timeout=30) == ["o-1", "anna", "bob"]
        closed = await world.ask("signal.order=3A1.approve", "late")
        assert closed["code"] == "workflow_closed"
        history = await handle.fetch_history()
        assert history.run_id == started["run_id"]
        letters = [json.loads(x.data) async for x in world.client.backend.dead_letters.scan()]
        assert [letter["reason"] for letter in letters] == ["workflow_closed"]

    on_jetstream(tmp_path, scenario)


def test_starts_and_signals_without_waiting_keep_their_order(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        for number in range(100):
            await world.publish(
                f"start.Shopping.o-{number}", {"args": [{"id": "o", "lines": []}, 3]}
            )
            for name in ("a", "b", "c"):
                await world.publish(f"signal.o-{number}.approve", name)
        handles = [world.client.get_workflow_handle(f"o-{number}") for number in range(100)]
        # A handle asks at once; the requests may still be on their way.
        last = await world.ask("start.Shopping", {"id": "last", "args": [{"id": "o", "lines": []}]})
        assert last["ok"]
        results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
        assert all(result == ["o", "a", "b", "c"] for result in results)

    on_jetstream(tmp_path, scenario)


def test_the_client_s_calls(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        handle = await world.client.start_workflow(Shopping.run, args=[ORDER, 2], id="o")
        await handle.signal(Shopping.approve, "anna")
        assert await handle.query(Shopping.names) == ["anna"]
        assert await handle.query("status") == "running"
        assert (await handle.describe()).history_length > 0
        with pytest.raises(WorkflowAlreadyStartedError):
            await world.client.start_workflow(Shopping.run, ORDER, id="o")
        await handle.signal(Shopping.approve, "x" * 200_000)
        assert (await handle.result(timeout=30))[2] == "x" * 200_000

    on_jetstream(tmp_path, scenario)


def test_no_server_is_a_typed_error() -> None:
    async def scenario() -> None:
        with pytest.raises(UnavailableError, match="no NATS server answers"):
            await Client.connect("127.0.0.1:1", start_timeout=1.0)

    asyncio.run(scenario())
