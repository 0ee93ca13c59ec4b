"""perdure under the load of the others: started and awaited by ``client.execute_workflow``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from harness.deployment import Shape, deployment
from load.world import TEXT, OneStep

from peers.place import Once, Place
from perdure.client import Client


class Perdure:
    """One scheduler, one worker, one gateway."""

    step = "activity in a worker process"

    def __init__(self, *, durable: bool) -> None:
        self._durable = durable

    @property
    def title(self) -> str:
        return "perdure, sync always" if self._durable else "perdure, default sync"

    @property
    def durability(self) -> str:
        return "fsync before each answer" if self._durable else "fsync every two minutes"

    def missing(self) -> str:
        return ""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncGenerator[Place]:
        async with deployment(Shape(durable=self._durable), under=folder) as at:
            yield Place(at.url, at.groups)

    @asynccontextmanager
    async def client(self, address: str) -> AsyncGenerator[Once]:
        async with await Client.connect(address) as connected:

            async def once(workflow_id: str) -> str:
                return await connected.execute_workflow(
                    OneStep.run, TEXT, id=workflow_id, task_queue="default"
                )

            yield once
