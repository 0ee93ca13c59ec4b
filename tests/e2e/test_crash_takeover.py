"""Somebody dies, or hangs, while others of the same kind live: they take over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.deployments import Kind
from support.polling import until, until_found
from support.systems import system
from support.watching import history_when, types

from perdure.engine.activities.heartbeats import decode_beat
from perdure.ports.addresses import TaskKey

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]


async def test_a_scheduler_takes_over_from_a_dead_one_and_from_one_that_hangs(
    tmp_path: Path,
) -> None:
    async with system(tmp_path) as here:
        deployed, client = here.deployed, here.client
        one, other, _ = await asyncio.gather(
            deployed.start("scheduler", "one"),
            deployed.start("scheduler", "other"),
            deployed.start("worker"),
        )
        handles = [await client.start_workflow("Approval", id=f"a-{n}") for n in range(8)]
        for handle in handles:
            await history_when(client, handle.id, lambda rows: bool(rows))

        other.pause()
        for handle in handles[:4]:
            await handle.signal("approve", "anna")
        assert [await handle.result(90) for handle in handles[:4]] == ["anna"] * 4
        other.resume()

        one.kill()
        for handle in handles[4:]:
            await handle.signal("approve", "bob")
        assert [await handle.result(90) for handle in handles[4:]] == ["bob"] * 4
        names = ["anna"] * 4 + ["bob"] * 4
        assert sorted(deployed.effects()) == [f"a-{n} {name} 1" for n, name in enumerate(names)]


async def test_a_worker_takes_over_from_a_dead_one(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        deployed, client = here.deployed, here.client
        workers = await asyncio.gather(
            deployed.start("worker", "one"),
            deployed.start("worker", "other"),
            deployed.start("scheduler"),
        )
        handle = await client.start_workflow("Slow", 5.0, id="slow")
        await deployed.did("slow work-begun 1")
        first = deployed.deeds()[0].pid
        next(worker for worker in workers if worker.pid == first).kill()
        assert await handle.result(90) == "work"
        deeds = deployed.deeds()
        assert [deed.line for deed in deeds] == [
            "slow work-begun 1",
            "slow work-begun 2",
            "slow work-done 2",
        ]
        assert deeds[1].pid != first
        completed = [
            row
            for row in (await handle.fetch_history()).events
            if row["type"] == "activity_completed"
        ]
        assert [row["attempt"] for row in completed] == [2]


@pytest.mark.slow
async def test_a_worker_that_hangs_is_taken_for_dead_and_does_no_harm_later(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        deployed, client = here.deployed, here.client
        one, _ = await asyncio.gather(deployed.start("worker", "one"), deployed.start("scheduler"))
        handle = await client.start_workflow("Slow", 5.0, id="slow")
        await deployed.did("slow work-begun 1")
        one.pause()
        await deployed.start("worker", "other")
        assert await handle.result(90) == "work"
        one.resume()
        # The one that hung goes on with what it had in hand, and its word no longer counts.
        last = await client.start_workflow("Errands", 3, id="last")
        assert await last.result(90) == ["errand-0", "errand-1", "errand-2"]
        rows = (await handle.fetch_history()).events
        assert types(rows).count("activity_completed") == 1
        assert next(r for r in rows if r["type"] == "activity_completed")["attempt"] == 2


async def test_heartbeat_details_outlive_their_worker(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        deployed, client = here.deployed, here.client
        made = await deployed.start_all("scheduler", "worker")
        handle = await client.start_workflow("Counting", 20, id="count")
        await deployed.did("count waits 1")
        key = TaskKey("default", "count", handle.result_run_id or "", 1)

        async def stored() -> bool | None:
            beat = decode_beat(await client.backend.heartbeats.last(key) or b"")
            return (beat is not None and [bytes(one) for one in beat.details] == [b"20"]) or None

        await until_found(stored, "the stored heartbeat")
        made["worker"].kill()
        await deployed.restart(made["worker"])
        assert await handle.result(90) == [20, 20]
        assert deployed.effects() == ["count from-0 1", "count waits 1", "count from-20 2"]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_many_workflows_while_everybody_dies_in_turn(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        deployed, client = here.deployed, here.client
        made = await deployed.start_all("scheduler", "worker")
        handles = [await client.start_workflow("Errands", 10, id=f"e-{n}") for n in range(40)]
        deaths: list[tuple[Kind, int]] = [("scheduler", 60), ("worker", 140), ("scheduler", 220)]
        for kind, enough in deaths:
            await until(
                lambda enough=enough: len(deployed.effects()) >= enough, f"{enough} activities"
            )
            made[kind].kill()
            made[kind] = await deployed.restart(made[kind])
        results = await asyncio.gather(*(handle.result(200) for handle in handles))
        assert results == [[f"errand-{n}" for n in range(10)]] * 40
        done = deployed.effects()
        logical = {line.rpartition(" ")[0] for line in done}
        assert len(logical) == 400
        # Only the one worker that died may have done twice what it had in hand, one per workflow.
        twice = [line for line in done if line.endswith(" 2")]
        assert len(done) - 400 <= len(twice) <= 40
        assert not [line for line in done if line.endswith(" 3")]
