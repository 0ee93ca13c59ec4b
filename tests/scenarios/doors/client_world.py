"""A store, a client, and a real scheduler while it is wanted."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from scenarios.doors.client_workflows import Order, Shopping, Sleeper, Working

from perdure.adapters.memory.backend import MemoryStore
from perdure.authoring.app import App
from perdure.client import (
    Client,
)
from perdure.converter import DataConverter
from perdure.engine.scheduler import Scheduler, SchedulerOptions
from perdure.testing.virtual_time import run

ORDER = Order("o-1", [1, 2])


class World:
    """A store, a client, and a scheduler while it is wanted."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.client = Client.from_backend(self.store.backend(), identity="tests")
        self._scheduler = AsyncExitStack()

    async def open(self, **options: Any) -> None:
        app = App(workflows=[Shopping, Sleeper, Working])
        scheduler = Scheduler(
            self.store.backend(),
            app,
            converter=DataConverter.default().payload_converter,
            options=SchedulerOptions(**options),
        )
        await self._scheduler.enter_async_context(scheduler)

    async def shut(self) -> None:
        await self._scheduler.aclose()


def with_scheduler(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        await world.open()
        try:
            await scenario(world)
        finally:
            await world.shut()

    run(whole())


def without_scheduler(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario(World())

    run(whole())
