"""What a process uses, seen from outside: processor time, memory, whether it stands still."""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

CHEAP: Final = Path("/proc/self/stat").exists()
"""Whether looking costs next to nothing."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4_096
_TICK: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class Usage(NamedTuple):
    """``cpu`` is of the main thread, in seconds; ``memory`` what the process holds, in bytes.
    ``waits``: it sleeps in a call of the system; ``stopped``: somebody paused it."""

    cpu: float
    memory: int
    waits: bool
    stopped: bool


def usage_of(pid: int) -> Usage | None:
    """None when there is no telling, or no such process."""
    try:
        return _from_proc(pid) if CHEAP else _from_ps(pid)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def _from_proc(pid: int) -> Usage:
    stat = Path(f"/proc/{pid}/task/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    state = stat[0]
    return Usage(
        cpu=(int(stat[11]) + int(stat[12])) / _TICK,
        memory=resident * _PAGE,
        waits=state == b"S",
        stopped=state in b"Tt",
    )


def _from_ps(pid: int) -> Usage:
    """Where there is no /proc: coarser, of the whole process, and dearer."""
    shown = subprocess.run(
        ["ps", "-o", "state=", "-o", "rss=", "-o", "time=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=True,
        timeout=2,
    )
    state, resident, time = shown.stdout.split()
    return Usage(
        cpu=_seconds(time),
        memory=int(resident) * 1_024,
        waits=state[0] in "SI",
        stopped=state[0] == "T",
    )


def _seconds(text: str) -> float:
    """``[[days-]hours:]minutes:seconds`` as ps writes them."""
    days, _, rest = text.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = total * 60 + float(part)
    return total + int(days or 0) * 86_400


def machine_memory() -> int:
    """Bytes that this machine, or this container, has."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(path.read_text()))
    return min(limits)
