"""Workers die, leave and come in any order: every activity ends, and none begins after its end."""

import asyncio
from datetime import timedelta
from random import Random

import pytest
from scenarios.activities.world import World, play

from perdure import activity
from perdure.core.durations import SECOND
from perdure.core.events import ActivityCanceled, ActivityCompleted, ActivityFailed, identity
from perdure.core.retry import RetryRule

TASKS = 25
BEGUN: dict[int, list[float]] = {}


@activity.defn
async def work(n: int, seconds: float, failures: int) -> int:
    BEGUN.setdefault(n, []).append(asyncio.get_running_loop().time())
    for step in range(4):
        activity.heartbeat(step)
        await asyncio.sleep(seconds / 4)
    if activity.info().attempt <= failures:
        raise ValueError("not yet")
    return n


async def disturb(world: World, chance: Random) -> None:
    for _ in range(25):
        await asyncio.sleep(chance.uniform(0.1, 8))
        alive = [worker for worker, _ in world.workers if worker.is_running]
        if len(alive) > 1 and chance.random() < 0.8:
            worker = chance.choice(alive)
            await (world.crash(worker) if chance.random() < 0.6 else worker.shutdown())
        if len(alive) < 4:
            await world.worker(work, max_concurrent=chance.choice([2, 5, 20]))


@pytest.mark.parametrize("seed", range(12))
def test_every_activity_ends_once(seed: int) -> None:
    chance = Random(seed)
    BEGUN.clear()

    async def story(world: World) -> None:
        await world.worker(work, max_concurrent=5)
        tasks = [
            await world.offer(
                "work",
                n,
                chance.uniform(0.5, 20),
                chance.choice([0, 0, 1, 2]),
                n=n,
                heartbeat=chance.choice([0, 12 * SECOND]),
                retry=RetryRule(maximum_interval=4 * SECOND),
            )
            for n in range(1, TASKS + 1)
        ]
        disturbing = asyncio.create_task(disturb(world, chance))
        for task in chance.sample(tasks, 5):
            await asyncio.sleep(chance.uniform(0, 10))
            if not await world.queue_is_empty(task):
                await world.cancel(task, word=chance.random() < 0.5)
        await disturbing
        await world.worker(work)
        await asyncio.sleep(900)
        ends: dict[str, float] = {}
        for when, event in await world.timed_events():
            assert isinstance(event, ActivityCompleted | ActivityFailed | ActivityCanceled)
            ends.setdefault(identity(event), when)
        assert len(ends) == TASKS
        for task in tasks:
            assert await world.queue_is_empty(task)
            end = ends[f"{task.run}:{task.n}:outcome"]
            assert all(begun <= end for begun in BEGUN.get(task.n, []))

    play(story, limit=timedelta(hours=3))
