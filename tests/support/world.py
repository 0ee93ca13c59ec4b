"""A whole perdure in one process on virtual time: schedulers, activity workers, a memory store.

Every process-like part can be killed (dropped without a word) and started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from perdure.adapters.memory.backend import MemoryStore
from perdure.authoring.app import App
from perdure.converter import DataConverter
from perdure.core.durations import SECOND
from perdure.core.events import (
    WorkflowCancelRequested,
    WorkflowSignaled,
    WorkflowTerminateRequested,
)
from perdure.core.failures import to_exception
from perdure.core.state import StateEntry, Status, decode_state
from perdure.engine.activities.worker import ActivityWorker
from perdure.engine.delivery import send
from perdure.engine.history import RunHistory, decode_archive, load_history
from perdure.engine.scheduler import Scheduler, SchedulerOptions
from perdure.engine.starts import StartRequest, start
from perdure.ports.addresses import Address
from perdure.ports.backend import Backend


class World:
    """One store and what runs on it."""

    def __init__(self, app: App, *, store: MemoryStore | None = None, **options: Any) -> None:
        self.app = app
        self.store = store or MemoryStore()
        self.converter = DataConverter.default().payload_converter
        self.client: Backend = self.store.backend()
        self.options = SchedulerOptions(**options)
        self.schedulers: dict[str, asyncio.Task[None]] = {}
        self.scheduler_objects: dict[str, Scheduler] = {}
        self.workers: dict[str, asyncio.Task[None]] = {}
        self._count = 0

    async def add_scheduler(
        self,
        name: str = "s1",
        *,
        app: App | None = None,
        wrap: Any = None,
        watch: Any = None,
        refused: frozenset[str] = frozenset(),
        **options: Any,
    ) -> Scheduler:
        backend = self.store.backend()
        if wrap is not None:
            backend = wrap(backend)
        scheduler = Scheduler(
            backend,
            app or self.app,
            converter=self.converter,
            options=replace(self.options, identity=name, **options),
            watch=watch,
            refused=refused,
        )
        self.scheduler_objects[name] = scheduler
        self.schedulers[name] = asyncio.create_task(scheduler.run(), name=f"scheduler-{name}")
        return scheduler

    async def add_worker(self, name: str = "w1", **options: Any) -> ActivityWorker:
        options.setdefault("task_queue", "default")
        worker = ActivityWorker(
            self.store.backend(), self.app, converter=self.converter, identity=name, **options
        )
        self.workers[name] = asyncio.create_task(worker.run(), name=f"worker-{name}")
        return worker

    async def start(self, workflow: str, *args: Any, id: str = "", **options: Any) -> str:
        self._count += 1
        workflow_id = id or f"wf-{self._count}"
        request = StartRequest(
            workflow_id=workflow_id,
            workflow_type=workflow,
            args=[self.converter.to_payload(arg) for arg in args],
            request_id=options.pop("request_id", f"test-{self._count}"),
            requested_at=self.client.clock.now(),
            **options,
        )
        await start(self.client, request)
        return workflow_id

    async def signal(self, workflow_id: str, name: str, *args: Any) -> int:
        self._count += 1
        event = WorkflowSignaled(
            eid=f"test:{self._count}", name=name, args=[self.converter.to_payload(a) for a in args]
        )
        return await send(self.client, workflow_id, event)

    async def cancel(self, workflow_id: str, reason: str = "") -> int:
        self._count += 1
        return await send(
            self.client,
            workflow_id,
            WorkflowCancelRequested(eid=f"test:{self._count}", reason=reason),
        )

    async def terminate(self, workflow_id: str, reason: str = "") -> int:
        self._count += 1
        event = WorkflowTerminateRequested(eid=f"test:{self._count}", reason=reason)
        return await send(self.client, workflow_id, event)

    async def entry(self, workflow_id: str) -> StateEntry | None:
        found = await self.client.state.read(workflow_id)
        return decode_state(found[0]) if found else None

    async def closed(self, workflow_id: str, *, timeout: float = 10_000_000) -> StateEntry:
        """The entry once the run is closed, by watching STATE."""
        changed = asyncio.Event()
        watch = await self.client.state.watch(workflow_id, lambda _: changed.set())
        try:
            async with asyncio.timeout(timeout):
                while True:
                    changed.clear()
                    entry = await self.entry(workflow_id)
                    if entry is not None and not entry.is_open:
                        return entry
                    await changed.wait()
        finally:
            await watch.close()

    async def result(self, workflow_id: str, **options: Any) -> Any:
        entry = await self.closed(workflow_id, **options)
        if entry.status is Status.COMPLETED:
            assert entry.result is not None
            return self.converter.from_payload(entry.result)
        assert entry.failure is not None
        raise to_exception(entry.failure, self.converter)

    async def history(self, workflow_id: str, queue: str = "default") -> RunHistory:
        found = await load_history(self.client, Address(queue, workflow_id))
        if found is not None:
            return found
        entry = await self.entry(workflow_id)
        assert entry is not None
        data = await self.client.archive.get(workflow_id, entry.run)
        assert data is not None
        return decode_archive(data)

    async def stop(self) -> None:
        tasks = [*self.schedulers.values(), *self.workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def world(
    workflows: Sequence[type] = (),
    activities: Sequence[Any] = (),
    *,
    serve: bool = True,
    **options: Any,
) -> AsyncGenerator[World]:
    one = World(App(workflows=list(workflows), activities=list(activities)), **options)
    if serve:
        await one.add_scheduler()
        await one.add_worker()
    try:
        yield one
    finally:
        await one.stop()


__all__ = ["SECOND", "World", "world"]
