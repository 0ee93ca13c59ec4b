"""A process that stands still until another has its work, and then goes on: nothing is lost, nothing
doubled, and it finds its place again."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from support.crash_judge import Death
from support.deployments import Deed, Deployment, Kind, Process
from support.outsiders import Publisher, publisher
from support.polling import until, until_found
from support.samples import sample
from support.systems import System, system
from support.traffic import Traffic
from support.voyage_life import IMPORTS

from perdure.engine.ingress.drain import rank

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(600)]

NAMES = ("anna", "bob")
"""Of which each owns partitions."""


async def partitions(here: System) -> dict[str, set[int]]:
    """What every scheduler that is thought alive says it owns."""
    members = await here.client.backend.members.list(("scheduler", "default"))
    return {name: set(json.loads(data)["partitions"]) for name, data in members.items()}


async def owned_by(here: System, *names: str) -> None:
    """Wait until exactly these own all partitions, and each of them some."""
    everything = set(range(here.client.backend.partitions))

    async def settled() -> bool | None:
        owned = await partitions(here)
        alive = set(owned) == set(names) and all(owned.values())
        whole = sorted(n for some in owned.values() for n in some) == sorted(everything)
        return (alive and whole) or None

    await until_found(settled, f"all partitions owned by {names}", seconds=90)


async def both(deployed: Deployment, kind: Kind) -> list[Process]:
    """Two of ``kind`` and one of every other."""
    others: list[Kind] = [one for one in ("scheduler", "worker", "gateway") if one != kind]
    made = await asyncio.gather(
        *(deployed.start(kind, name) for name in NAMES), *(deployed.start(one) for one in others)
    )
    return made[:2]


async def a_scheduler(here: System, outsider: Publisher) -> None:
    one, _ = await both(here.deployed, "scheduler")
    await owned_by(here, *NAMES)
    traffic = Traffic(here.client, here.deployed, outsider)
    flowing = asyncio.create_task(traffic.begin("before", voyages=6, errands=30, mailboxes=10))
    await until(lambda: len(here.deployed.deeds()) >= 20, "20 activities")
    one.pause()
    await owned_by(here, NAMES[1])
    await flowing
    await traffic.begin("meanwhile", voyages=3, errands=10, mailboxes=5)
    one.resume()
    await traffic.begin("after", voyages=3, errands=10, mailboxes=5)
    await traffic.end()
    await owned_by(here, *NAMES)


async def a_worker(here: System, outsider: Publisher) -> None:
    workers = {worker.pid: worker for worker in await both(here.deployed, "worker")}
    traffic = Traffic(here.client, here.deployed, outsider)
    flowing = asyncio.create_task(traffic.begin("before", voyages=6, errands=30))
    handles = [
        await here.client.start_workflow("Slow", 5.0, id=f"slow-{number}") for number in range(8)
    ]

    def in_hand() -> list[Deed]:
        deeds = here.deployed.deeds()
        lines = {deed.line for deed in deeds}
        begun = [deed for deed in deeds if deed.line.endswith("begun 1")]
        return [deed for deed in begun if deed.line.replace("begun", "done") not in lines]

    await until(lambda: bool(in_hand()), "a slow activity")
    one = workers[in_hand()[0].pid]
    one.pause()
    paused = Death(one.pid, time.time(), woken=True)
    held = [deed.line for deed in in_hand() if deed.pid == one.pid]
    # Another one has begun what it holds.
    for line in held:
        await here.deployed.did(line.replace("begun 1", "begun 2"))
    await flowing
    one.resume()
    await traffic.begin("after", voyages=3, errands=10)
    await traffic.end([paused])
    assert [await handle.result(60) for handle in handles] == ["work"] * 8
    for handle in handles:
        rows = (await handle.fetch_history()).events
        (outcome,) = [row for row in rows if row["type"] == "activity_completed"]
        least = 2 if f"{handle.id} work-begun 1" in held else 1
        assert outcome["attempt"] >= least, f"{handle.id}: {outcome}"


async def drained_by(here: System, name: str) -> None:
    """Wait until this gateway alone holds the front door."""

    async def settled() -> bool | None:
        members = await here.client.backend.members.list(("gateway",))
        drains = [one for one, data in members.items() if json.loads(data)["drains"]]
        return drains == [name] or None

    await until_found(settled, f"the front door held by {name}", seconds=90)


async def a_gateway(here: System, outsider: Publisher) -> None:
    gateways = {one.name: one for one in await both(here.deployed, "gateway")}
    standby, active = sorted(gateways, key=rank)
    await drained_by(here, active)
    traffic = Traffic(here.client, here.deployed, outsider)
    flowing = asyncio.create_task(traffic.begin("before", errands=40, mailboxes=40))
    await until(lambda: bool(here.deployed.deeds()), "the first activity")
    gateways[active].pause()
    await drained_by(here, standby)
    await flowing
    await traffic.begin("meanwhile", errands=10, mailboxes=10)
    gateways[active].resume()
    await traffic.begin("after", errands=10, mailboxes=10)
    await traffic.end()
    await drained_by(here, active)


@pytest.mark.parametrize("who", sample([a_scheduler, a_worker, a_gateway], 1, "paused"))
async def test_one_that_stood_still_does_no_harm(tmp_path: Path, who) -> None:
    async with system(tmp_path, imports=IMPORTS) as here, publisher(here.server.url) as outsider:
        await who(here, outsider)
