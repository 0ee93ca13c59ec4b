"""Virtual time in which a process can stand still: everything of it waits, its timers included.

A process is known by its context: all that it starts inherits the variable :data:`PROCESS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from perdure.testing.faults import SimulatedCrash
from perdure.testing.virtual_time import VirtualTimeLoop


class Standing:
    """A process as the loop sees it; ``held`` is what waits while it stands still."""

    def __init__(self) -> None:
        self.held: list[asyncio.Handle] = []


PROCESS: ContextVar[Standing | None] = ContextVar("PROCESS", default=None)


class _Ready(deque[asyncio.Handle]):
    """What is to run next, but for what belongs to a process that stands still."""

    def __init__(self, nothing: asyncio.Handle) -> None:
        super().__init__()
        self.still: set[Standing] = set()
        self._nothing = nothing

    def popleft(self) -> asyncio.Handle:
        handle = super().popleft()
        if self.still:
            process = vars_of(handle).get(PROCESS)
            if process in self.still and process is not None:
                process.held.append(handle)
                return self._nothing
        return handle


def vars_of(handle: asyncio.Handle) -> Any:
    """The context that a handle runs in."""
    return getattr(handle, "_context")  # noqa: B009 - asyncio has no name for it


def _unless_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the tasks of a dead process raise concerns nobody."""
    if not isinstance(context.get("exception"), SimulatedCrash):
        loop.default_exception_handler(context)


class StormLoop(VirtualTimeLoop):
    """A virtual loop with processes that can be made to stand still."""

    def __init__(self) -> None:
        super().__init__()
        nothing = asyncio.Handle(lambda: None, (), self)
        nothing.cancel()
        self._ready: _Ready = _Ready(nothing)
        self.set_exception_handler(_unless_dead)

    def stand_still(self, process: Standing) -> None:
        self._ready.still.add(process)

    def go_on(self, process: Standing) -> None:
        self._ready.still.discard(process)
        held, process.held = process.held, []
        self._ready.extend(held)


def storm_loop() -> StormLoop:
    """The running loop of a storm."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StormLoop)
    return loop


def run_storm[T](program: Coroutine[Any, Any, T]) -> T:
    """Run ``program`` on a loop of its own."""
    with asyncio.Runner(loop_factory=StormLoop) as runner:
        return runner.run(program)


__all__ = ["PROCESS", "Standing", "StormLoop", "run_storm", "storm_loop"]
