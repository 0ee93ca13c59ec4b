"""Doing a thing very often: so many at a time, and what a process has cost meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from support.samples import EVERY


def size(full: int, small: int) -> int:
    """Crowds have their full size when everything runs."""
    return full if EVERY else small


async def each[T, R](
    items: Iterable[T], act: Callable[[T], Awaitable[R]], *, at_a_time: int = 200
) -> list[R]:
    """``act`` on every item, so many at a time; the results in the items' order."""
    pending = iter(list(items))
    results: dict[int, R] = {}
    count = 0

    async def work() -> None:
        nonlocal count
        for item in pending:
            place, count = count, count + 1
            results[place] = await act(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_a_time):
            group.create_task(work())
    return [results[place] for place in range(count)]


def memory_of(pid: int) -> int:
    """Megabytes that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1_024
    return 0


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
