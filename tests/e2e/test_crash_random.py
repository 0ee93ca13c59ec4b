"""Any process killed at any time, several times, while many workflows are in flight: each comes to
its one result, and only what a killed worker had in hand is done twice.

Runs are drawn by the printed seed; PERDURE_TEST_ALL=1 makes fifty of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import batched
from pathlib import Path
from typing import Final

import pytest
from support.crash_judge import Death
from support.outsiders import publisher
from support.samples import SEED, chance, sample
from support.towns import VICTIMS, Town, Victim, town
from support.traffic import Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(900)]

RUNS: Final = 50
TOWNS: Final = 5
"""Side by side."""
AT_ONCE: Final = 10
"""Runs of one test."""


@pytest.mark.parametrize("runs", list(batched(sample(range(RUNS), 2, "random"), AT_ONCE)))
async def test_killed_at_any_time(tmp_path: Path, runs: tuple[int, ...]) -> None:
    print(f"PERDURE_TEST_SEED={SEED}: runs {runs}")
    async with asyncio.TaskGroup() as group:
        for number in range(min(TOWNS, len(runs))):
            group.create_task(see(tmp_path / f"town-{number}", runs[number::TOWNS]))


async def see(folder: Path, runs: Sequence[int]) -> None:
    async with town(folder) as here:
        for run in runs:
            try:
                await one_run(here, run)
            except BaseException as error:
                error.add_note(f"run {run}")
                raise


async def one_run(here: Town, run: int) -> None:
    draws = chance("random", run)
    down: set[Victim] = set()
    deaths: list[Death] = []

    async def bring_back(victim: Victim, pause: float) -> None:
        await asyncio.sleep(pause)
        await here.revive(victim)
        down.discard(victim)

    async with publisher(here.server.url) as outsider:
        traffic = Traffic(here.client, here.deployed, outsider)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.begin(f"run-{run}", voyages=3, errands=3, mailboxes=2))
            for _ in range(draws.randint(3, 6)):
                await asyncio.sleep(draws.uniform(0.0, 2.0))
                victim = draws.choice(VICTIMS)
                pause = draws.uniform(0.0, 1.0)
                if victim in down:
                    continue
                down.add(victim)
                death = here.kill(victim)
                if victim == "worker":
                    deaths.append(death)
                group.create_task(bring_back(victim, pause))
        await traffic.end(deaths)
