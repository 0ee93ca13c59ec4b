"""A process that stands still (SIGSTOP) and reads nothing, while the others go on.

The server's patience is short here: what it holds for a connection is bounded by ``max_pending``, and who
does not read is cut off. That must cost nobody anything but the stopped one's share of the work.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
from support.crowds import each, memory_of, size
from support.deployments import Deployment, Kind, Process
from support.systems import System, system
from support.watching import insist

from perdure.client import WorkflowHandle

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

BOXES: Final = size(100, 40)
LETTERS: Final = 20
SHORT: Final = {"max_pending": 16_000_000, "write_deadline": "1s"}
WEIGHT: Final = "x" * 50_000


async def two_of_each(deployed: Deployment) -> dict[str, Process]:
    kinds: tuple[Kind, ...] = ("scheduler", "worker")
    made = {f"{kind}-{n}": deployed.spawn(kind, f"{kind}-{n}") for kind in kinds for n in (1, 2)}
    await asyncio.gather(*(process.ready() for process in made.values()))
    return made


async def boxes_filled(here: System) -> list[Any]:
    """Many workflows get many heavy letters; what they received."""
    names = [f"box-{n}" for n in range(BOXES)]
    start, handle = here.client.start_workflow, here.client.get_workflow_handle

    async def fill(name: str) -> Any:
        await insist(lambda: start("Basket", LETTERS, id=name))
        box: WorkflowHandle[Any, Any] = handle(name)
        for number in range(LETTERS):
            await box.signal("put", args=[number, WEIGHT])
        return await insist(lambda: box.result(100))

    return await each(names, fill, at_a_time=20)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stopped", ["scheduler-1", "worker-1"])
async def test_who_does_not_read_holds_nobody_up(tmp_path: Path, stopped: str) -> None:
    async with system(tmp_path, imports="support.baskets", **SHORT) as here:
        made = await two_of_each(here.deployed)
        before = memory_of(here.server.pid)
        made[stopped].pause()
        try:
            results = await boxes_filled(here)
            # Each once; what the stopped one had in hand comes later than what followed it.
            assert {answer[-1] for answer in results} == {"weighed"}
            assert [sorted(answer[:-1]) for answer in results] == [list(range(LETTERS))] * BOXES
            grown = memory_of(here.server.pid) - before
            print(f"\nserver grew by {grown} MB while {stopped} stood still")
        finally:
            made[stopped].resume()
        await made[stopped].ready()
        # What it had in hand counts once, whatever it thinks of it now.
        again = await here.client.start_workflow("Basket", 1, id="again")
        await again.signal("put", args=[7, "light"])
        assert await again.result(60) == [7, "weighed"]
        weighed = here.deployed.effects()
        assert {line.split()[0] for line in weighed} == {f"box-{n}" for n in range(BOXES)} | {
            "again"
        }
