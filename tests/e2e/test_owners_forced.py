"""Two schedulers that both believe to own everything: the log alone decides, and decides once.

Every result is exact, every activity is done once, every history replays. Two hundred workflows and
the scouts of thirty; a third of them without PERDURE_TEST_ALL=1.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest
from support.deployments import Process, health_page
from support.outsiders import publisher
from support.samples import EVERY
from support.systems import system
from support.traffic import Traffic
from support.voyage_life import IMPORTS

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(600)]

LONE: Final = "support.lone_scheduler"
AMOUNT: Final = (
    {"voyages": 30, "errands": 120, "mailboxes": 50}
    if EVERY
    else {"voyages": 8, "errands": 30, "mailboxes": 10}
)


async def count(process: Process, metric: str) -> float:
    """A metric of a process, over all of its labels."""
    _, page = await health_page(process.health_port, "/metrics")
    return sum(float(n) for n in re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", page, re.MULTILINE))


async def test_two_owners_of_everything_decide_once(tmp_path: Path) -> None:
    async with system(tmp_path, imports=IMPORTS) as here, publisher(here.server.url) as outsider:
        one, other, *_ = await asyncio.gather(
            here.deployed.start("scheduler", "one", module=LONE),
            here.deployed.start("scheduler", "other", module=LONE),
            here.deployed.start("worker"),
            here.deployed.start("gateway"),
        )
        traffic = Traffic(here.client, here.deployed, outsider)
        await traffic.begin("forced", **AMOUNT)
        await traffic.end()
        # Both decided, and each met decisions of the other.
        for scheduler in (one, other):
            assert await count(scheduler, "perdure_workflow_turns_total") > 0
        conflicts = [await count(each, "perdure_commit_conflicts_total") for each in (one, other)]
        assert sum(conflicts) > 0
