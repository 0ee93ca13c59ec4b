"""A replicated store that loses its leaders, its nodes and its network, under load.

Every start and signal that has a receipt counts exactly once, whatever happened to the cluster; the
run's report says how fast it went and what was met, and nothing here depends on it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cluster import operated, running_nodes
from support.cluster_faults import FAULTS, Stage
from support.cluster_network import ON_LINUX, why_not
from support.deployments import Deployment, Kind, Process, deployment, health_page
from support.hot import linked
from support.load import loading
from support.load_judge import find, judge
from support.load_trace import trace

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.e2e,
    pytest.mark.asyncio,
    # A server that takes a connection and says nothing: the client library leaves its socket open.
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
]

_EVERYTHING = os.environ.get("PERDURE_TEST_ALL") == "1"
_REFUSALS = re.compile(r'perdure_nats_refusals_total\{code="(\d+)"\} (\S+)')
_NAMES = {503: "no responders", 10158: "duplicate in process", 10164: "write in process"}
_DRAINED = 240.0


@dataclass(frozen=True)
class Size:
    """How long and how hard. ``most`` bounds the workflows under way."""

    seconds: float
    rate: float
    most: int
    processes: Sequence[Kind]


_FULL = Size(
    seconds=120,
    rate=200,
    most=400,
    processes=("scheduler", "scheduler", "worker", "worker", "gateway", "gateway"),
)
_SMALL = Size(
    seconds=15,
    rate=20,
    most=60,
    processes=("scheduler", "scheduler", "worker", "gateway"),
)


def _faults() -> list[Any]:
    """All, or one that the seed draws among those that can be had here."""
    if _EVERYTHING:
        return [
            pytest.param(name, marks=[ON_LINUX] if fault.needs_network else [])
            for name, fault in FAULTS.items()
        ]
    has_network = not why_not()
    possible = [name for name, fault in FAULTS.items() if has_network or not fault.needs_network]
    return [random.Random(os.environ["PERDURE_TEST_SEED"]).choice(possible)]


@pytest.fixture(autouse=True)
def _collected() -> Generator[None]:
    """Sockets that were left open end here, where nobody minds."""
    yield
    gc.collect()


@pytest.mark.timeout(1_200 if _EVERYTHING else 600)
@pytest.mark.parametrize("name", _faults())
async def test_what_has_a_receipt_counts_once(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, size = FAULTS[name], _FULL if _EVERYTHING else _SMALL
    seed = os.environ["PERDURE_TEST_SEED"]
    async with (
        running_nodes(tmp_path, apart=fault.needs_network) as cluster,
        operated(cluster) as operator,
        _services(tmp_path / "services", cluster.urls, size.processes) as deployed,
        loading(cluster.urls, name=name, most=size.most) as load,
    ):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        away = fault.away if _EVERYTHING else fault.briefly
        chance = random.Random(f"{name}-{seed}")
        stage = Stage(cluster, operator, begun + size.seconds, away, chance)
        async with asyncio.TaskGroup() as together:
            together.create_task(fault.play(stage))
            together.create_task(load.arrive(rate=size.rate, seconds=size.seconds))
        rate = len(load.lives) / (loop.time() - begun)
        await load.drain(seconds=_DRAINED)
        drained = loop.time() - begun
        async with linked(cluster.urls) as link:
            if load.late:
                told = await trace(link, load.late)
                pytest.fail(f"{len(load.late)} of {len(load.lives)} never ended:\n{told}")
            found = await find(link)
        verdict = judge(load.lives, found, deployed.deeds(), blind=fault.blind)
        await _still_well(deployed)
        met = load.refusals + await _met_by(deployed.processes)
        with capsys.disabled():
            print(
                f"\n{name}: {dict(stage.done)}; {rate:.0f} workflows/s of {size.rate:.0f} wanted, "
                f"held back {load.held_back} times; drained after {drained:.0f} s\n  {verdict}\n"
                f"  met: {_named(met)}"
            )
        assert stage.done, "no fault was played"


@asynccontextmanager
async def _services(
    folder: Path, urls: Sequence[str], kinds: Sequence[Kind]
) -> AsyncGenerator[Deployment]:
    """The processes, dealt to the nodes; each may move to another one later."""
    options = {"imports": "support.load_code", "PERDURE_REPLICAS": "3"}
    async with deployment(folder, ",".join(urls), **options) as deployed:
        made = [
            deployed.spawn(kind, f"{kind}-{number}", NATS_URL=urls[number % len(urls)])
            for number, kind in enumerate(kinds)
        ]
        await asyncio.gather(*(process.ready() for process in made))
        yield deployed


def _named(met: Counter[int]) -> dict[str, int]:
    always = {f"{number} {name}": met[number] for number, name in _NAMES.items()}
    return always | {str(number): met[number] for number in sorted(met.keys() - _NAMES.keys())}


async def _met_by(processes: Sequence[Process]) -> Counter[int]:
    """What services were answered, as their metrics count it."""
    met: Counter[int] = Counter()
    for process in processes:
        _, text = await health_page(process.health_port, "/metrics")
        for code, count in _REFUSALS.findall(text):
            met[int(code)] += int(float(count))
    return met


async def _still_well(deployed: Deployment) -> None:
    """Nobody died or met what it does not expect."""
    for process in deployed.processes:
        assert process.alive, f"{process.name} ended with {process.exit_code}"
        await process.ready()
        assert "unexpectedly" not in process.log, f"{process.name}:\n{process.log[-6_000:]}"
