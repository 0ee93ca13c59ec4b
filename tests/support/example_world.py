"""An example's module on a whole perdure in virtual time, and questions to its workflows.

Long waits are spent with everybody switched off: that is what a workflow that waits may rely on,
and a virtual week of idle processes beating their hearts would take minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from support.world import World

from perdure.authoring.app import App
from perdure.client.questions import query


class ExampleWorld(World):
    _generation = 0

    async def ask(self, workflow_id: str, name: str, *, after: int = 0) -> Any:
        """The answer to a query; ``after`` is the sequence that the owner must have seen."""
        payload = await query(
            self.client,
            workflow_id,
            run="",
            name=name,
            args=[],
            after=after,
            timeout=30.0,
            converter=self.converter,
        )
        return self.converter.from_payload(payload)

    async def switch_on(self) -> None:
        """A scheduler and a worker, both new."""
        self._generation += 1
        await self.add_scheduler(f"scheduler-{self._generation}")
        await self.add_worker(f"worker-{self._generation}")

    async def switch_off(self) -> None:
        """Nobody left, and nobody told: they are dropped where they stand."""
        tasks = [*self.schedulers.values(), *self.workers.values()]
        self.schedulers.clear()
        self.workers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def nothing_for(self, seconds: float) -> None:
        """Let time pass with everybody switched off but at its two ends."""
        await asyncio.sleep(30)
        await self.switch_off()
        await asyncio.sleep(seconds - 60)
        await self.switch_on()
        await asyncio.sleep(30)


@asynccontextmanager
async def example_world(module: ModuleType) -> AsyncGenerator[ExampleWorld]:
    """Everything that ``module`` defines, served by one scheduler and one worker."""
    world = ExampleWorld(App.from_modules([module.__name__]))
    await world.switch_on()
    try:
        yield world
    finally:
        await world.stop()
