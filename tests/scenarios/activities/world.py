"""What the scenarios of activities share: a store in virtual time, a workflow's place in it, tasks
offered by hand, and the ENGINE lane read back."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec

from perdure.adapters.memory.backend import MemoryStore
from perdure.authoring.app import App
from perdure.converter import default
from perdure.core.durations import SECOND
from perdure.core.events import Event, decode_event
from perdure.core.retry import RetryRule
from perdure.core.state import StateEntry, Status, decode_state, encode_state
from perdure.core.tasks import ActivityTask, decode_task, encode_task
from perdure.engine.activities.worker import ActivityWorker
from perdure.ports.addresses import Address, Lane, TaskKey
from perdure.ports.backend import Backend
from perdure.testing.virtual_time import run

CONVERTER = default().payload_converter
ADDRESS = Address("flows", "order-1")
RUN = "run-1"
ONCE = RetryRule(maximum_attempts=1)


class World:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.backend = store.backend()
        self.loop = asyncio.get_running_loop()
        self.workers: list[tuple[ActivityWorker, Backend]] = []

    def now(self) -> float:
        """Seconds of virtual time since the world began."""
        return self.loop.time()

    async def worker(self, *functions: Callable[..., Any], **options: Any) -> ActivityWorker:
        backend = options.pop("backend", None) or self.store.backend()
        options.setdefault("identity", f"worker-{len(self.workers) + 1}")
        worker = ActivityWorker(
            backend, App(activities=functions), task_queue="work", converter=CONVERTER, **options
        )
        self.workers.append((worker, backend))
        await worker.start()
        return worker

    async def crash(self, worker: ActivityWorker) -> None:
        """The worker's process dies."""
        backend = next(backend for known, backend in self.workers if known is worker)
        self.store.crash(backend)
        await worker.kill()

    async def end(self) -> None:
        for worker, _ in self.workers:
            await worker.shutdown()

    def task(self, activity_type: str, *args: Any, **changes: Any) -> ActivityTask:
        now = self.backend.clock.now()
        values: dict[str, Any] = {
            "run": RUN,
            "n": 1,
            "workflow_id": ADDRESS.workflow_id,
            "workflow_type": "Order",
            "workflow_queue": ADDRESS.queue,
            "activity_type": activity_type,
            "activity_id": str(changes.get("n", 1)),
            "task_queue": "work",
            "args": [CONVERTER.to_payload(arg) for arg in args],
            "scheduled_at": now,
            "cause_at": now,
        }
        return ActivityTask(**(values | changes))

    def key(self, task: ActivityTask) -> TaskKey:
        return TaskKey(task.task_queue, task.workflow_id, task.run, task.n)

    async def offer(self, activity_type: str, *args: Any, **changes: Any) -> ActivityTask:
        task = self.task(activity_type, *args, **changes)
        assert await self.backend.tasks.offer(self.key(task), encode_task(task))
        return task

    async def cancel(self, task: ActivityTask, *, word: bool = True) -> None:
        """What a scheduler does: put a cancellation in the task's place, and tell everybody."""
        key = self.key(task)
        current = await self.backend.tasks.current(key)
        assert current is not None, "nothing to cancel"
        data = encode_task(msgspec.structs.replace(decode_task(current.data), cancel=True))
        await self.backend.tasks.replace(key, data, seq=current.seq)
        if word:
            said = msgspec.json.encode({"run": task.run, "n": task.n})
            await self.backend.messages.tell(("activity-cancel", task.task_queue), said)

    async def events(self) -> list[Event]:
        found = await self.backend.log.following(ADDRESS, Lane.ENGINE, 0)
        return [decode_event(stored.data) for stored in found]

    async def timed_events(self) -> list[tuple[float, Event]]:
        """The events with the seconds since the world began."""
        zero = self.backend.clock.now() - round(self.now() * SECOND)
        found = await self.backend.log.following(ADDRESS, Lane.ENGINE, 0)
        return [((one.timestamp - zero) / SECOND, decode_event(one.data)) for one in found]

    async def outcome(self, *, count: int = 1, within: float = 5_000) -> list[Event]:
        """The events of the lane, once there are ``count``."""
        async with asyncio.timeout(within):
            while True:
                events = await self.events()
                if len(events) >= count:
                    return events
                await asyncio.sleep(0.05)

    async def queue_is_empty(self, task: ActivityTask) -> bool:
        return await self.backend.tasks.current(self.key(task)) is None

    async def current(self, task: ActivityTask) -> ActivityTask:
        stored = await self.backend.tasks.current(self.key(task))
        assert stored is not None, "the task is gone"
        return decode_task(stored.data)

    async def attempt(self, task: ActivityTask, number: int) -> ActivityTask:
        """The task, once it waits for attempt ``number``."""
        while True:
            current = await self.current(task)
            if current.attempt >= number:
                return current
            await asyncio.sleep(0.05)

    async def letters(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(one.data) async for one in self.backend.dead_letters.scan()]

    async def close_run(self) -> None:
        found = await self.backend.state.read(ADDRESS.workflow_id)
        assert found is not None
        entry = msgspec.structs.replace(decode_state(found[0]), status=Status.COMPLETED)
        await self.backend.state.update(ADDRESS.workflow_id, encode_state(entry), revision=found[1])


def play(
    story: Callable[[World], Coroutine[Any, Any, None]],
    *,
    limit: timedelta = timedelta(days=2),
    **options: Any,
) -> None:
    """Run ``story`` in a fresh world, with an open run to belong to."""

    async def tell() -> None:
        world = World(MemoryStore(**options))
        entry = StateEntry(
            workflow_id=ADDRESS.workflow_id, run=RUN, workflow_type="Order", task_queue="flows"
        )
        await world.backend.state.create(ADDRESS.workflow_id, encode_state(entry))
        try:
            await story(world)
        finally:
            await world.end()

    run(tell(), limit=limit)
