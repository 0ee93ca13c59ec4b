"""The deployment of one seed: which processes there are, and what befalls them.

Every seed is another deployment in other weather: few processes or many, faults of few kinds or of
all, one owner of a partition or two, small caches or none.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

from support.redteam import Alone
from support.storm.chronicle import Chronicle
from support.storm.clocks import LeaderClock
from support.storm.code import BUILDS, CHRONICLE, NEW
from support.storm.process import Life, Process, Surroundings
from support.storm.trace import Trace
from support.world import World

from perdure.adapters.memory.backend import MemoryStore
from perdure.core.durations import SECOND
from perdure.engine.activities.worker import ActivityWorker
from perdure.engine.ingress import IngressDrain
from perdure.engine.scheduler import Scheduler, SchedulerOptions
from perdure.ports.backend import Backend
from perdure.testing.fault_plan import FaultPlan
from perdure.testing.faults import (
    ClockStepped,
    CrashAfter,
    CrashBefore,
    Delayed,
    Duplicated,
    Fault,
    Lost,
    PausedAfter,
    PausedBefore,
    Refused,
    Reordered,
    ReportedFailed,
)

GRACE = 45 * SECOND
"""How long the log of a closed run stays, and less than any process stands still."""

_RATES: dict[type[Fault], float] = {
    CrashBefore: 0.0015,
    CrashAfter: 0.0015,
    ReportedFailed: 0.005,
    Refused: 0.005,
    Delayed: 0.01,
    Duplicated: 0.006,
    Lost: 0.005,
    Reordered: 0.006,
    PausedBefore: 0.0012,
    PausedAfter: 0.0012,
    ClockStepped: 0.002,
}
_FULL = 0.004
_WEIGHTS: dict[str, float] = {
    "messages.answer": 0.15,
    "messages.close": 0.3,
    "members.beat": 0.05,
    "members.list": 0.15,
    **dict.fromkeys(("log.purge", "inbox.close", "tasks.close", "ingress.close"), 4.0),
    **dict.fromkeys(("messages.question", "tasks.nak", "heartbeats.last", "tasks.remove"), 4.0),
    **dict.fromkeys(("blobs.get", "blobs.put", "dead_letters.put", "members.leave"), 2.5),
    **dict.fromkeys(("archive.runs", "dead_letters.scan", "tasks.backlog", "state.change"), 2.5),
    "dead_letters.remove": 6.0,
    "ingress.extend": 10.0,
    "ingress.nak": 15.0,
    "timers.rearm": 20.0,
    "inbox.nak": 25.0,
}
"""What is called often meets fewer faults each time, what is called seldom more."""
_TIMES = (0.0, 1.0, 1.0, 1.0, 3.0)
"""What a seed makes of each fault's rate: some storms have a few kinds of faults only."""


@dataclass(frozen=True)
class Shape:
    """What a seed's deployment looks like."""

    queues: tuple[str, ...]
    schedulers: int
    workers: int
    gateways: int
    partitions: int
    two_owners: bool
    two_builds: bool
    credit: int
    at_once: int
    max_message: int


def shape_of(draws: random.Random) -> Shape:
    return Shape(
        queues=("default", "other")[: draws.choice((1, 1, 2))],
        schedulers=draws.choice((1, 2, 2, 3)),
        workers=draws.choice((1, 2, 2)),
        gateways=draws.choice((1, 2)),
        partitions=draws.choice((1, 2, 4)),
        two_owners=draws.random() < 0.4,
        two_builds=draws.random() < 0.25,
        credit=draws.choice((3, 1_000, 1_000)),
        at_once=draws.choice((1, 3, 100)),
        max_message=draws.choice((300_000, 900_000)),
    )


def faults_of(draws: random.Random, level: float) -> dict[Fault, float]:
    def rate(base: float) -> float:
        return base * level * draws.choice(_TIMES)

    rates: dict[Fault, float] = {kind(): rate(base) for kind, base in _RATES.items()}
    return rates | {Refused(full=True): rate(_FULL)}


class Gateway:
    """A drainer of the front door as a process has it."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._drain = IngressDrain(backend, member=name, patience=30.0)

    async def run(self) -> None:
        async with self._drain:
            await asyncio.Event().wait()


class Client:
    """Somebody's program: it has a backend while it lives."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def run(self) -> None:
        await asyncio.Event().wait()


class Deployment:
    """The processes of one seed, their store and their weather."""

    def __init__(self, seed: int, level: float, trace: Trace | None) -> None:
        self.seed = seed
        self.draws = random.Random(seed)
        self.shape = shape_of(self.draws)
        store = MemoryStore(partitions=self.shape.partitions, max_message=self.shape.max_message)
        self.world = World(NEW, store=store)
        self.plan = FaultPlan(seed, rates=faults_of(self.draws, level), weights=_WEIGHTS)
        self.chronicle = Chronicle(store, trace)
        CHRONICLE.set(self.chronicle)
        self.leader = LeaderClock(store, seed)
        self.is_calm = False
        self._around = Surroundings(store, self.plan, self.leader, self.chronicle, seed)
        self.processes: dict[str, Process] = {}
        self.clients: list[Process] = []
        self._compose()

    def _compose(self) -> None:
        for queue in self.shape.queues:
            for number in range(self.shape.schedulers):
                self._add(f"s-{queue}-{number}", self._scheduler(queue))
            for number in range(self.shape.workers):
                self._add(f"w-{queue}-{number}", self._worker(queue))
        for number in range(self.shape.gateways):
            self._add(f"g-{number}", lambda backend, life: Gateway(backend, life.process))
        for number in range(2):
            self._add(f"c-{number}", lambda backend, _: Client(backend))
            self.clients.append(self.processes[f"c-{number}"])

    def _add(self, name: str, make: Any) -> None:
        self.processes[name] = Process(name, self._around, make)

    def _scheduler(self, queue: str) -> Any:
        cached = self.draws.choice((0, 2, 100))

        def make(backend: Backend, life: Life) -> Scheduler:
            if self.shape.two_owners:
                backend = replace(backend, members=Alone(backend.members))
            build = self._build()
            self.chronicle.tell(life, f"is of the {build} build")
            options = SchedulerOptions(
                task_queue=queue,
                identity=life.process,
                build=build,
                max_cached=cached,
                credit=self.shape.credit,
                purge_grace=GRACE,
            )
            converter = self.world.converter
            return Scheduler(backend, BUILDS[build], converter=converter, options=options)

        return make

    def _build(self) -> str:
        if self.is_calm or not self.shape.two_builds:
            return "new"
        return self.draws.choice(("new", "old"))

    def _worker(self, queue: str) -> Any:
        def make(backend: Backend, life: Life) -> ActivityWorker:
            return ActivityWorker(
                backend,
                NEW,
                task_queue=queue,
                converter=self.world.converter,
                identity=life.process,
                max_concurrent=self.shape.at_once,
            )

        return make

    @property
    def deaths(self) -> int:
        """Lives of schedulers that are over."""
        schedulers = [p for name, p in self.processes.items() if name.startswith("s-")]
        return sum(process.lives - 1 for process in schedulers)

    def begin(self) -> None:
        for process in self.processes.values():
            process.begin()

    async def end(self) -> None:
        for process in self.processes.values():
            process.wake()
        await asyncio.gather(*(process.end() for process in self.processes.values()))

    async def weather(self) -> None:
        """Full stores, deployments, other leaders, until cancelled."""
        draws = random.Random(self.seed + 1)
        store = self.world.store
        while True:
            await asyncio.sleep(draws.uniform(1, 15))
            event = draws.random()
            if event < 0.15:
                self.chronicle.tell("the store", "is full")
                store.full = True
                await asyncio.sleep(draws.uniform(2, 20))
                store.full = False
                self.chronicle.tell("the store", "has room")
            elif event < 0.3:
                self.leader.step()
            elif event < 0.6:
                process = self.processes[draws.choice(sorted(self.processes))]
                if not process.name.startswith("c-"):
                    self.chronicle.tell(process.name, "is deployed anew")
                    process.deploy()

    def calm(self) -> None:
        """From now on nothing goes wrong, and everything is of the new build."""
        if self.is_calm:
            return
        self.is_calm = True
        self.chronicle.tell("the storm", "is over")
        self.plan.calm()
        self.world.store.full = False
        self.leader.settle()
        for process in self.processes.values():
            process.wake()
            if self.shape.two_builds and process.name.startswith("s-"):
                process.deploy()


__all__ = ["GRACE", "Deployment", "Shape"]
