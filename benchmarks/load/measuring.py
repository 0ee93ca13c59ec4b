"""How load is made and measured, whatever it is made of: windows of steady load, and their CPU time."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from harness.usage import CpuMeter

Outcome = dict[str, Any]
_TICK: Final = 0.25
_DRAIN: Final = 120.0
_CALM: Final = 0.05
_CALM_FOR: Final = 1.0
"""Seconds in which a calm process uses less than ``_CALM`` of a core."""


def say(word: Mapping[str, Any]) -> None:
    """Tell whoever started this process."""
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


@dataclass(kw_only=True)
class Task:
    """What every job has: whom to watch, what to do, and a way to say how far it is."""

    groups: dict[str, list[int]]
    parameters: Mapping[str, Any]
    prefix: str
    """Begins the ids of this job's workflows."""

    def ids(self) -> Iterator[str]:
        """Workflow ids without end."""
        return (f"{self.prefix}-{number}" for number in itertools.count())

    def meter(self) -> CpuMeter:
        return CpuMeter(self.groups)

    def progress(self, fraction: float) -> None:
        """Tell how far the job is, 0 to 1."""
        say({"progress": min(fraction, 1.0)})


@dataclass(frozen=True)
class Window:
    """A stretch of steady load."""

    units: int
    seconds: float
    cpu: dict[str, float]
    """Microseconds per unit, by process."""
    others: float
    """The share of the machine that was busy with something else."""

    @classmethod
    def since(cls, start: float, meter: CpuMeter, units: int) -> Self:
        """The window that began at ``start`` (of the monotonic clock) and ends now."""
        seconds = time.monotonic() - start
        return cls(units, seconds, meter.per_unit(units), meter.others(seconds))

    def outcome(self, **others: Any) -> Outcome:
        """As a job reports it; ``others`` are further values, or better ones."""
        return {"rate": self.units / self.seconds, **asdict(self), **others}


async def closed_loop(
    on: Task,
    once: Callable[[], Awaitable[None]],
    *,
    concurrency: int,
    seconds: float,
    warmup: float,
    weight: int = 1,
) -> Window:
    """Keep ``concurrency`` of ``once`` under way; what the window after the warm-up held, each
    counting as ``weight`` units. Returns when all have ended."""
    done = 0
    stopping = False

    async def repeat() -> None:
        nonlocal done
        while not stopping:
            await once()
            done += 1

    async with asyncio.timeout(warmup + seconds + _DRAIN), asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(repeat())
        whole = warmup + seconds
        begun = time.monotonic()
        await _pass(on, lambda: time.monotonic() - begun >= warmup and done > 0, begun, whole)
        meter, start, before = on.meter(), time.monotonic(), done
        await _pass(on, lambda: time.monotonic() - start >= seconds and done > before, begun, whole)
        window = Window.since(start, meter, (done - before) * weight)
        stopping = True
    return window


async def _pass(on: Task, over: Callable[[], bool], begun: float, whole: float) -> None:
    while not over():
        await asyncio.sleep(min(_TICK, whole / 10))
        on.progress((time.monotonic() - begun) / whole)


async def settled(on: Task, group: str, *, within: float) -> None:
    """Wait until a group of processes does next to nothing, but no longer than ``within``."""
    for _ in range(int(within / _CALM_FOR)):
        meter = CpuMeter({group: on.groups[group]})
        await asyncio.sleep(_CALM_FOR)
        if meter.seconds()[group] <= _CALM * _CALM_FOR:
            return


async def spread(works: Sequence[Callable[[], Awaitable[None]]], *, concurrency: int) -> None:
    """Do everything, so many at a time."""
    waiting = iter(works)

    async def lane() -> None:
        for work in waiting:
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(works))):
            group.create_task(lane())


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of them don't exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
