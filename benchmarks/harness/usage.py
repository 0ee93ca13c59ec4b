"""What processes use: CPU time and memory, as the kernel counts them.

CPU time per unit of work says more than wall time on a machine that others use too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

Groups = Mapping[str, Sequence[int]]
"""Process ids by what they are: ``nats-server``, ``scheduler``, …"""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_USER_TIME: Final = 11
_SYSTEM_TIME: Final = 12


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The command's name stands in parentheses and may hold spaces.
    fields = text.rpartition(")")[2].split()
    return (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS


def family(pids: Iterable[int]) -> Iterator[int]:
    """The processes and all that they started."""
    for pid in pids:
        yield pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            continue
        yield from family(map(int, children.split()))


def resident_bytes(pids: Iterable[int]) -> int:
    """The memory that processes and their children hold; what they share counts once."""
    found = [memory for pid in family(pids) if (memory := _memory(pid))]
    return sum(private for _, private in found) + max((shared for shared, _ in found), default=0)


def _memory(pid: int) -> tuple[int, int] | None:
    """Resident bytes that are shared with others, and those that are not."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines()[1:]}
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return sizes["Rss"] - private, private


def stored_bytes(folder: Path) -> int:
    """What a folder takes on disk; files may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _busy_seconds() -> float:
    """What all processors did since the start, time stolen by a host's other guests included."""
    user, nice, system, _, _, *interrupts = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts)) / _TICKS


class CpuMeter:
    """CPU time of groups of processes since a moment."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._before = self._read()
        self._busy_before = _busy_seconds()

    def seconds(self) -> dict[str, float]:
        """CPU seconds by group since the start."""
        now = self._read()
        return {name: now[name] - self._before[name] for name in now}

    def per_unit(self, units: float) -> dict[str, float]:
        """CPU microseconds by group for each of ``units``."""
        spent = self.seconds()
        return {name: value / units * 1e6 for name, value in spent.items()} if units else {}

    def others(self, seconds: float) -> float:
        """The share of the machine, over ``seconds``, that was busy with anything else."""
        busy = _busy_seconds() - self._busy_before - sum(self.seconds().values())
        return max(busy, 0.0) / (seconds * (os.cpu_count() or 1))

    def _read(self) -> dict[str, float]:
        return {name: sum(map(cpu_seconds, family(pids))) for name, pids in self._groups.items()}
