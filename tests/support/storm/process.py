"""Processes of a simulated deployment: they die, stand still, are deployed anew, and live again."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from support.storm.chronicle import Chronicle
from support.storm.clocks import LeaderClock, ProcessClock
from support.storm.loop import PROCESS, Standing, storm_loop

from perdure.adapters.memory.backend import MemoryStore
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.testing.fault_plan import Fate, FaultPlan
from perdure.testing.faults import SimulatedCrash

_SHORT, _LONG, _LONGEST = (0.05, 2.0), (2.0, 12.0), (12.0, 50.0)
_KILLED_AFTER = 20.0
"""Seconds that a process gets to end in order."""


class Part(Protocol):
    """What a process runs until it is cancelled."""

    async def run(self) -> None: ...


@dataclass(eq=False)
class Life(Standing):
    """One life of a process. ``pauses`` are when it stood still, ``ended`` when it was over."""

    process: str
    number: int
    began: float
    context: contextvars.Context
    ended: float = 0.0
    died: bool = False
    pauses: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    held: list[asyncio.Handle] = field(default_factory=list[asyncio.Handle])

    def __str__(self) -> str:
        return f"{self.process}/{self.number}"

    def stood_still(self, begin: float, end: float) -> bool:
        return any(since < end and until > begin for since, until in self.pauses)


@dataclass
class Surroundings:
    """What all processes of a deployment share."""

    store: MemoryStore
    plan: FaultPlan
    leader: LeaderClock
    chronicle: Chronicle
    seed: int


class Process:
    """``make(backend, life)`` gives what it runs, anew for each life."""

    def __init__(
        self, name: str, around: Surroundings, make: Callable[[Backend, Life], Part]
    ) -> None:
        self.name = name
        self._around = around
        self._make = make
        self._draws = random.Random(f"{around.seed}:{name}")
        self._task: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self.life: Life | None = None
        self.part: Any = None
        self.lives = 0

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live_and_die(), name=self.name)

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def deploy(self) -> None:
        """End it in order; what comes next may be another build."""
        self._leave.set()

    def wake(self) -> None:
        """Go on, if it stands still."""
        life = self.life
        if life is not None and life.pauses and life.pauses[-1][1] > _now():
            life.pauses[-1] = (life.pauses[-1][0], _now())
        if life is not None:
            storm_loop().go_on(life)

    async def _live_and_die(self) -> None:
        while True:
            await self._live_once()
            await asyncio.sleep(self._draws.choice((0.0, 0.1, 1.0, 8.0, 20.0)))

    async def _live_once(self) -> None:
        around, loop = self._around, asyncio.get_running_loop()
        life = self._new_life()
        raw = around.store.backend()
        died = asyncio.Event()

        def on_crash() -> None:
            around.store.crash(raw)
            died.set()

        fate = Fate(
            on_crash=on_crash,
            on_pause=lambda: self._pause(life),
            on_step=around.leader.step,
            watch=lambda name, about, fault, outcome: around.chronicle.saw(
                life, name, about, fault, outcome
            ),
        )
        timed = replace(raw, clock=ProcessClock(around.store))
        self.part = life.context.run(self._make, around.plan.wrap(timed, fate=fate), life)
        work = loop.create_task(self.part.run(), name=str(life), context=life.context)
        self._leave = asyncio.Event()
        ends = [loop.create_task(event.wait()) for event in (died, self._leave)]
        try:
            await asyncio.wait({work, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if self._leave.is_set() and not died.is_set():
                work.cancel()
                await asyncio.wait({work, ends[0]}, timeout=_KILLED_AFTER)
        finally:
            for end in ends:
                end.cancel()
            await self._bury(life, work, is_dead=died.is_set())
        around.store.crash(raw)

    def _new_life(self) -> Life:
        context = contextvars.copy_context()
        self.life = life = Life(self.name, self.lives, _now(), context)
        context.run(PROCESS.set, life)
        self.lives += 1
        self._around.chronicle.tell(life, "begins to live")
        return life

    async def _bury(self, life: Life, work: asyncio.Task[None], *, is_dead: bool) -> None:
        life.died = is_dead or not work.done()
        life.ended = _now()
        self._around.chronicle.tell(life, "dies" if life.died else "ends")
        self.wake()
        self.life = None
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        error = None if work.cancelled() else work.exception()
        if error is not None and not isinstance(error, PortError | SimulatedCrash):
            raise RuntimeError(f"{life} ended by itself") from error

    def _pause(self, life: Life) -> None:
        if life is not self.life:
            return
        seconds = self._draws.uniform(*self._draws.choice((_SHORT, _LONG, _LONG, _LONGEST)))
        life.pauses.append((_now(), _now() + seconds))
        self._around.chronicle.tell(life, f"stands still for {seconds:.1f} s")
        storm_loop().stand_still(life)
        # Of nobody's context: it is not for the process to wake itself.
        asyncio.get_running_loop().call_later(
            seconds, self._awake, life, context=contextvars.Context()
        )

    def _awake(self, life: Life) -> None:
        if life is self.life and life.pauses[-1][1] <= _now() + 1e-6:
            self._around.chronicle.tell(life, "goes on")
            storm_loop().go_on(life)


def _now() -> float:
    return asyncio.get_running_loop().time()


__all__ = ["Life", "Part", "Process", "Surroundings"]
