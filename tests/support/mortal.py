"""Processes of a simulated deployment that die and are started again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from perdure.adapters.memory.backend import MemoryStore
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.testing.faults import FaultPlan, SimulatedCrash


class Mortal:
    """One process: ``make(backend)`` gives what it runs. When the plan has it crash, everything of
    it stops at once, and it is started anew after a pause."""

    def __init__(
        self,
        store: MemoryStore,
        plan: FaultPlan,
        make: Callable[[Backend], Any],
        *,
        rest: Callable[[], float],
    ) -> None:
        self._store = store
        self._plan = plan
        self._make = make
        self._rest = rest
        self.deaths = 0
        self.part: Any = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, name: str) -> None:
        self._task = asyncio.create_task(self._live_and_die(name), name=name)

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _live_and_die(self, name: str) -> None:
        while True:
            raw = self._store.backend()
            died = asyncio.Event()

            def on_crash(raw: Backend = raw, died: asyncio.Event = died) -> None:
                self._store.crash(raw)
                died.set()

            self.part = self._make(self._plan.wrap(raw, on_crash=on_crash))
            life = asyncio.create_task(self.part.run(), name=f"{name}-life-{self.deaths}")
            death = asyncio.create_task(died.wait())
            try:
                await asyncio.wait({life, death}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                death.cancel()
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)
            if not died.is_set() and not life.cancelled():
                error = life.exception()
                if not isinstance(error, PortError | SimulatedCrash):
                    raise error or RuntimeError(f"{name} ended by itself")
                self._store.crash(raw)
            self.deaths += 1
            await asyncio.sleep(self._rest())


def rest_of(seed: int) -> Callable[[], float]:
    """Pauses between a death and the next life."""
    draws = random.Random(seed)
    return lambda: draws.choice((0.0, 0.1, 1.0, 8.0, 20.0))


__all__ = ["Mortal", "rest_of"]
