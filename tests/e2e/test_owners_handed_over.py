"""Processes that are asked to end hand their work over: a rolling restart under load is not seen in
any result, nor in what was done for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.deployments import Kind, Process
from support.outsiders import publisher
from support.samples import sample
from support.systems import System, system
from support.traffic import Traffic
from support.voyage_life import IMPORTS

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(600)]

NAMES = ("one", "other", "third")


async def replace(here: System, process: Process) -> Process:
    """By a new one of its name, once it has ended by itself and without complaint."""
    process.terminate()
    assert await process.ended() == 0, process.log
    assert '"level": "error"' not in process.log, process.log
    return await here.deployed.restart(process)


@pytest.mark.parametrize("kind", sample(["scheduler", "worker", "gateway"], 1, "rolling"))
async def test_a_rolling_restart_under_load(tmp_path: Path, kind: Kind) -> None:
    async with system(tmp_path, imports=IMPORTS) as here, publisher(here.server.url) as outsider:
        others: list[Kind] = [one for one in ("scheduler", "worker", "gateway") if one != kind]
        *processes, _, _ = await asyncio.gather(
            *(here.deployed.start(kind, name) for name in NAMES),
            *(here.deployed.start(one) for one in others),
        )
        traffic = Traffic(here.client, here.deployed, outsider)
        over = asyncio.Event()

        async def load() -> None:
            wave = 0
            while not over.is_set():
                await traffic.begin(f"wave-{wave}", voyages=1, errands=4, mailboxes=2)
                wave += 1
                await asyncio.sleep(0.2)

        async with asyncio.TaskGroup() as group:
            group.create_task(load())
            for process in processes:
                await replace(here, process)
            over.set()
        await traffic.end()
