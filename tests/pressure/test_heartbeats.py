"""Activities that flood their worker with heartbeats: throttled, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client as Outsider
from support import heartbeaters
from support.crowds import each, size
from support.nats_server import running_server

from perdure.client import Client
from perdure.worker import Worker

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

LOG = "PERDURE_default_LOG"
BEATS_OF_ALL = "perdure.default._beat.>"
BEATS = size(100_000, 20_000)
CROWD = size(1_000, 100)


@asynccontextmanager
async def connected_outsider(url: str) -> AsyncGenerator[Outsider]:
    outsider = await nats.connect(url)
    try:
        yield outsider
    finally:
        await outsider.close()


@asynccontextmanager
async def working(folder: Path) -> AsyncGenerator[tuple[Client, Outsider]]:
    with running_server(folder) as server:
        async with (
            connected_outsider(server.url) as outsider,
            await Client.connect(server.url) as client,
            Worker(
                client,
                task_queue="default",
                workflows=[heartbeaters.Beating],
                activities=[
                    heartbeaters.flood,
                    heartbeaters.flood_in_a_thread,
                    heartbeaters.flood_until,
                    heartbeaters.breathe,
                    heartbeaters.hello,
                    heartbeaters.flood_at_once,
                    heartbeaters.block_the_loop,
                ],
                max_concurrent_activities=CROWD + 10,
            ),
        ):
            yield client, outsider


async def execute(client: Client, kind: str, argument: Any, *, name: str, heartbeat: float) -> Any:
    return await client.execute_workflow("Beating", args=[kind, argument, heartbeat], id=name)


async def written(outsider: Outsider) -> tuple[int, int]:
    """How often LOG was written to, and how many heartbeats lie there."""
    state = (await outsider.jetstream().stream_info(LOG, subjects_filter=BEATS_OF_ALL)).state
    return state.last_seq, len(state.subjects or {})


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["flood", "flood_in_a_thread"])
@pytest.mark.parametrize("heartbeat", [0.0, 10.0])
async def test_a_flood_is_throttled_and_its_newest_word_counts(
    tmp_path: Path, kind: str, heartbeat: float
) -> None:
    async with working(tmp_path) as (client, outsider):
        begin = time.monotonic()
        last = await execute(client, kind, BEATS, name="flood", heartbeat=heartbeat)
        print(f"\n{kind}: {BEATS} heartbeats in {time.monotonic() - begin:.1f} s")
        assert last == BEATS
        writes, beats = await written(outsider)
        # A handful for the workflow itself, and one beat per throttle, which takes seconds.
        assert writes < 60
        assert beats <= 1


async def test_a_flood_in_a_thread_does_not_pile_up_in_the_loop(tmp_path: Path) -> None:
    """The worst case: the loop stands still meanwhile, by somebody else's fault."""
    async with working(tmp_path) as (client, _):
        blocked = asyncio.create_task(
            execute(client, "block_the_loop", 0, name="blocked", heartbeat=0)
        )
        assert await execute(client, "flood_at_once", BEATS, name="flood", heartbeat=0) == BEATS
        assert await blocked < 100


@pytest.mark.timeout(240)
async def test_endless_floods_hold_nobody_up(tmp_path: Path) -> None:
    async with working(tmp_path) as (client, _):
        floods = [
            asyncio.create_task(
                execute(client, "flood_until", str(tmp_path), name=f"flood-{n}", heartbeat=5)
            )
            for n in range(4)
        ]
        begin = time.monotonic()
        answers = await each(
            [f"friend-{n}" for n in range(20)],
            lambda name: execute(client, "hello", name, name=name, heartbeat=0),
        )
        assert answers == [f"hello friend-{n}" for n in range(20)]
        assert not any(flood.done() for flood in floods)
        print(f"\n20 beside four floods in {time.monotonic() - begin:.1f} s")
        (tmp_path / "enough").touch()
        print(f"heartbeats: {await asyncio.gather(*floods)}")


@pytest.mark.timeout(240)
async def test_a_thousand_activities_breathe_side_by_side(tmp_path: Path) -> None:
    async with working(tmp_path) as (client, outsider):
        attempts = await each(
            range(CROWD),
            lambda n: execute(client, "breathe", size(15, 3), name=f"b-{n}", heartbeat=size(10, 5)),
            at_a_time=CROWD,
        )
        # Nobody's sign of life was lost among the others'.
        assert attempts == [1] * CROWD
        writes, beats = await written(outsider)
        print(f"\n{CROWD} activities, {writes} writes, {beats} heartbeats kept")
        assert writes < CROWD * 12
