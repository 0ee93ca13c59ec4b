"""kill -9 of one process right after one durable write of a voyage, for every write there is.

Several towns stand side by side; each sees several lives, one after another, and in each of them one
kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Final

from support.crash_judge import Death, judge_letters
from support.moments import Moments, listening
from support.outsiders import publisher
from support.samples import SEED, chance, sample
from support.towns import Town, Victim, town
from support.voyage_life import RESULT, WRITES, judge_voyage
from support.voyages import SCOUT
from support.watching import history_when, insist, types

TOWNS: Final = 5
"""Side by side."""
LIVES: Final = 6
"""One after another, in each town."""

_DELAYS: Final = (0.0, 0.0, 0.001, 0.003, 0.01, 0.03, 0.07)
"""Seconds from a write to the kill: the write's effects take about as long."""
_PATIENCE: Final = 120.0


@dataclass(frozen=True)
class Case:
    """Kill ``victim`` after the write number ``place``, and ``delay`` seconds."""

    victim: Victim
    place: int
    delay: float

    @property
    def workflow_id(self) -> str:
        return f"{self.victim}-{self.place}"


def cases(victim: Victim, *, sampled: int) -> list[tuple[Case, ...]]:
    """What each test does: every place, or as many as are ``sampled``."""
    places = sample(range(1, WRITES + 1), sampled, victim)
    made = [Case(victim, n, chance(victim, n).choice(_DELAYS)) for n in places]
    return list(batched(made, TOWNS * LIVES))


def name_of(batch: Sequence[Case]) -> str:
    return "-".join(str(case.place) for case in (batch if len(batch) < 3 else batch[:1]))


async def see_through(folder: Path, batch: Sequence[Case]) -> None:
    """All cases of ``batch``, spread over towns."""
    print(f"PERDURE_TEST_SEED={SEED}: {batch}")
    async with asyncio.TaskGroup() as group:
        for number in range(min(TOWNS, len(batch))):
            group.create_task(_lives(folder / f"town-{number}", batch[number::TOWNS]))


async def _lives(folder: Path, some: Sequence[Case]) -> None:
    async with town(folder) as here:
        for case in some:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _life(here, case)
            except BaseException as error:
                error.add_note(f"{case}")
                raise


async def _life(here: Town, case: Case) -> None:
    one = case.workflow_id
    async with (
        publisher(here.server.url) as outsider,
        listening(here.server.url, {one, one + SCOUT}) as moments,
    ):
        killing = asyncio.create_task(_kill(here, case, moments))
        await outsider.publish(f"start.Voyage.{one}", {}, key=one)
        await history_when(here.client, one, lambda rows: "timer_fired" in types(rows))
        await outsider.publish(f"signal.{one}.approve", "anna", key=f"{one}-approve")
        handle = here.client.get_workflow_handle(one)
        result = await insist(lambda: handle.result(_PATIENCE), seconds=_PATIENCE)
        # Writes that fell together may have been one less: then the end is the place.
        moments.over()
        death = await killing
    assert result == RESULT, f"killed at {case.place}: {result}"
    scout = here.client.get_workflow_handle(one + SCOUT)
    seen = await insist(lambda: scout.result(_PATIENCE))
    assert seen == "look", seen
    deaths = [death] if case.victim == "worker" else []
    await judge_voyage(here.client, here.deployed.deeds(), one, deaths)
    await judge_letters(here.client)


async def _kill(here: Town, case: Case, moments: Moments) -> Death:
    struck: asyncio.Future[Death] = asyncio.get_running_loop().create_future()

    def strike() -> None:
        struck.set_result(here.kill(case.victim))

    moments.at(case.place, strike, delay=case.delay)
    death = await struck
    await here.revive(case.victim)
    return death
