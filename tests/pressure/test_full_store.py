"""A store that the server says is full: said at every door, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from nats.js.errors import APIError
from support.deployments import KINDS, Process, health_page
from support.filling import filler
from support.polling import until_found
from support.systems import System, system
from support.watching import insist

from perdure.client import Client, StoreFullError
from perdure.ports.errors import StoreFull

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

LIMIT: Final = 32_000_000


async def health(process: Process, wanted: str, path: str = "/readyz") -> str:
    """The page, once it says what is wanted."""

    async def look() -> str | None:
        _, text = await health_page(process.health_port, path)
        return text if wanted in text else None

    return await until_found(look, f"{process.name} says {wanted!r}")


async def armed(here: System, timers: int) -> None:
    async def look() -> bool | None:
        info = await here.outsider.jetstream().stream_info(
            "PERDURE_default_LOG", subjects_filter="perdure.default._timer.>"
        )
        return len(info.state.subjects or {}) >= timers or None

    await until_found(look, f"{timers} armed timers")


async def refused_start(client: Client) -> list[Any]:
    """Start until it is refused: the figures at the door may be seconds old."""
    started: list[Any] = []
    with pytest.raises(StoreFullError, match=r"was not started: the store is \d+% full"):
        while True:
            name = f"try-{len(started)}"
            started.append(await client.start_workflow("Echo", name, id=name))
            await asyncio.sleep(0.05)
    return started


async def test_near_the_limit_new_workflows_wait_and_the_others_go_on(tmp_path: Path) -> None:
    async with (
        system(tmp_path, jetstream={"max_file_store": LIMIT}) as here,
        filler(here.server.url) as room,
        await Client.connect(here.server.url, store_limit=LIMIT) as client,
    ):
        told = {"PERDURE_STORE_LIMIT": "32MB"}
        made = [here.deployed.spawn(kind, **told) for kind in KINDS]
        await asyncio.gather(*(process.ready() for process in made))
        box = await client.start_workflow("Mailbox", 3, id="box")
        journey = await client.start_workflow("Journey", "done", id="journey")
        await room.fill(LIMIT * 9 // 10)
        earlier = await refused_start(client)
        receipts = [
            await here.publish(f"start.Echo.late-{n}", {"input": f"l{n}"}) for n in range(9)
        ]
        assert len(set(receipts)) == 9
        # What runs goes on: signals by every door, timers, activities with retries, ends.
        await here.publish("start.Mailbox.late-box", {"input": 1})
        await here.publish("signal.late-box.letter", 7)
        for n in range(3):
            assert (await here.ask("signal.box.letter", n))["ok"]
        await journey.signal("approve", "ann")
        assert await box.result(60) == [0, 1, 2]
        assert await journey.result(60) == ["book", "pack", "ann", "leave"]
        assert [await one.result(60) for one in earlier] == [one.id for one in earlier]
        for process in made:
            await health(process, "ready\nthe store is 9")
        assert "perdure_starts_admitted 0.0" in await health(made[0], "perdure_store_", "/metrics")
        for n in range(9):
            assert await client.backend.state.read(f"late-{n}") is None
        await room.release()
        results = [
            await insist(lambda n=n: client.get_workflow_handle(f"late-{n}").result(60))
            for n in range(9)
        ]
        assert results == [f"l{n}" for n in range(9)]
        await health(made[2], "perdure_starts_admitted 1.0", "/metrics")
        assert await client.get_workflow_handle("late-box").result(60) == [7]
        assert await here.dead_letters() == []


async def test_a_full_store_is_said_at_every_door(tmp_path: Path) -> None:
    async with (
        system(tmp_path, jetstream={"max_file_store": LIMIT}) as here,
        filler(here.server.url) as room,
    ):
        box = await here.client.start_workflow("Mailbox", 1, id="box")
        await room.fill_up()
        with pytest.raises(StoreFullError, match="the store is full"):
            await here.client.start_workflow("Echo", "x", id="new")
        with pytest.raises(StoreFullError, match="the store is full"):
            await box.signal("letter", 1)
        with pytest.raises(StoreFullError, match="the store is full"):
            await box.cancel()
        for subject in ("start.Echo.new", "signal.box.letter", "cancel.box"):
            with pytest.raises(APIError):
                await here.publish(subject)
        with pytest.raises(StoreFull):
            await here.client.backend.blobs.put("a/b/c", b"x")
        # What only reads works.
        assert (await box.describe()).id == "box"
        await room.release()
        assert await here.client.backend.state.read("new") is None
        await here.deployed.start_all("scheduler", "worker")
        await box.signal("letter", 2)
        assert await box.result(60) == [2]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victims", ["nobody", "services", "server"])
async def test_what_was_under_way_ends_when_room_comes_back(tmp_path: Path, victims: str) -> None:
    async with (
        system(tmp_path, jetstream={"max_file_store": LIMIT}) as here,
        filler(here.server.url) as room,
    ):
        made = await here.deployed.start_all()
        box = await here.client.start_workflow("Mailbox", 3, id="box")
        await box.signal("letter", 1)
        slow = await here.client.start_workflow("Slow", 2.0, id="slow")
        sleepers = [
            await here.client.start_workflow("Sleeper", 3.0, id=f"sleeper-{n}") for n in range(20)
        ]
        await here.deployed.did("slow work-begun 1")
        await armed(here, len(sleepers))
        await room.fill_up()
        await here.deployed.did("slow work-done 1")
        with pytest.raises(StoreFullError):
            await box.signal("letter", 99)
        if victims == "services":
            here.deployed.kill_all()
            made = {kind: here.deployed.spawn(kind) for kind in KINDS}
            await made["scheduler"].says("Trying again")
        if victims == "server":
            here.server.kill()
            here.server.start()
        # All timers fall due now, and none can be written down.
        await asyncio.sleep(4)
        assert (await insist(sleepers[0].describe)).close_time is None
        await insist(room.release)
        assert await insist(lambda: slow.result(60)) == "work"
        slept = await asyncio.gather(*(insist(lambda s=s: s.result(60)) for s in sleepers))
        assert slept == ["slept"] * len(sleepers)
        await asyncio.gather(*(process.ready() for process in made.values()))
        await here.publish("signal.box.letter", 2)
        await box.signal("letter", 3)
        received = await box.result(60)
        assert (received[0], sorted(received)) == (1, [1, 2, 3])
        deeds = here.deployed.effects()
        if victims == "services":
            # The outcome of the first attempt died with its worker.
            assert deeds[-1] == "slow work-done 2"
        else:
            assert deeds == ["slow work-begun 1", "slow work-done 1"]
