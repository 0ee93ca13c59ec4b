"""Many storms on all cores: what they met, and which of them broke a promise."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import batched

from support.storm.promises import Broken
from support.storm.storming import storm

_AT_ONCE = 8
LEVELS = (1.0, 1.0, 0.4, 2.5)
"""How bad the weather is, by seed."""


@dataclass(frozen=True)
class Failure:
    """A seed that broke a promise, and which."""

    seed: int
    what: str
    workflow_id: str = ""


@dataclass
class Tally:
    """What storms met: calls by name, faults by their name and the call's; CPU seconds."""

    seeds: int = 0
    calls: Counter[str] = field(default_factory=Counter[str])
    met: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    failures: list[Failure] = field(default_factory=list[Failure])
    cpu: float = 0.0

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.calls.update(other.calls)
        self.met.update(other.met)
        self.failures = sorted([*self.failures, *other.failures], key=lambda one: one.seed)
        self.cpu += other.cpu


def level_of(seed: int) -> float:
    return LEVELS[seed % len(LEVELS)]


def run_seeds(seeds: Iterable[int], level: float | None = None) -> Tally:
    """Run these storms here, one after the other."""
    was = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    tally = Tally()
    for seed in seeds:
        began = time.process_time()
        try:
            plan = storm(seed, level=level_of(seed) if level is None else level)
            tally.calls.update(plan.calls)
            tally.met.update(plan.met)
        except Broken as broken:
            tally.failures.append(Failure(seed, str(broken), broken.workflow_id))
        except Exception as error:
            tally.failures.append(Failure(seed, f"{type(error).__name__}: {error}"))
        tally.seeds += 1
        tally.cpu += time.process_time() - began
    logging.disable(was)
    return tally


def run_campaign(
    seeds: Sequence[int],
    *,
    level: float | None = None,
    processes: int | None = None,
    on_progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """Run these storms on all cores; ``on_progress`` is told what was met so far."""
    whole = Tally()
    for part in _parts(seeds, level, processes or os.cpu_count() or 1):
        whole.add(part)
        if on_progress is not None:
            on_progress(whole)
    return whole


def _parts(seeds: Sequence[int], level: float | None, processes: int) -> Iterator[Tally]:
    # Spawned, not forked: whoever calls may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (list(sys.path),)) as pool:
        work = [pool.submit(run_seeds, part, level) for part in batched(seeds, _AT_ONCE)]
        try:
            for done in as_completed(work):
                yield done.result()
        finally:
            for one in work:
                one.cancel()


def _begin(path: list[str]) -> None:
    sys.path[:] = path


__all__ = ["LEVELS", "Failure", "Tally", "level_of", "run_campaign", "run_seeds"]
