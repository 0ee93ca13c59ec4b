"""One nats-server for all acceptance tests of a module; each test has a namespace of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.nats_server import RunningServer, running_server

from perdure.client import Client
from perdure.worker import Worker

_numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


class Town:
    """A namespace on a real server, and what a test starts in it."""

    def __init__(self, client: Client, url: str, stack: AsyncExitStack) -> None:
        self.client = client
        self.url = url
        self._stack = stack

    async def work(self, *code: Any, task_queue: str = "default", **options: Any) -> Worker:
        """A worker that serves until the test ends."""
        worker = Worker(
            self.client,
            task_queue=task_queue,
            workflows=[one for one in code if isinstance(one, type)],
            activities=[one for one in code if not isinstance(one, type)],
            **options,
        )
        return await self._stack.enter_async_context(worker)

    async def another_client(self, **options: Any) -> Client:
        return await self._stack.enter_async_context(
            await Client.connect(self.url, namespace=self.client.namespace, **options)
        )


type Scenario = Callable[[Town], Awaitable[None]]


@pytest.fixture
def town(server: RunningServer, tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario in a new namespace of the module's server."""

    async def whole(scenario: Scenario) -> None:
        namespace = f"n{next(_numbers)}"
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                await Client.connect(server.url, namespace=namespace)
            )
            async with asyncio.timeout(60):
                await scenario(Town(client, server.url, stack))

    def run(scenario: Scenario) -> None:
        asyncio.run(whole(scenario))

    return run
