"""When a turn has had its time, or its memory: the supervisor's judgement, without a clock of its own.

Time counts that the turn had: seconds of processor time while it computes, seconds that passed while
it waits in a call. A process that was paused, a machine that was suspended or that has no processor
to spare strikes nobody.
"""

from dataclasses import dataclass
from typing import Final

from perdure_services._shell.board import Turn
from perdure_services._shell.usage import Usage

LOOK: Final = 0.1
"""Seconds between two looks."""
_LATE: Final = 3 * LOOK
"""What passed between two looks counts up to this: beyond it the looker itself stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one turn may take: seconds, and bytes that the process grows by. 0: no limit."""

    time: float
    memory: int


class Judge:
    """Looks at one process again and again."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turn = 0
        self._had = 0.0
        self._looked = 0.0
        self._cpu = 0.0
        self._memory = 0
        self._memory_before = 0

    def look(self, turn: Turn | None, usage: Usage | None, *, now: float) -> str:
        """Why the turn must be stopped, or nothing. ``now`` is monotonic seconds."""
        since = max(self._looked, turn.begun / 1e9) if turn is not None else self._looked
        passed = max(min(now - since, _LATE), 0.0)
        if turn is None or turn.begun != self._turn:
            self._turn = turn.begun if turn is not None else 0
            self._had, self._memory_before = 0.0, self._memory
        if not self._memory_before and usage is not None:
            self._memory_before = usage.memory
        if turn is not None:
            self._had += self._share(usage, passed)
        self._looked = now
        if usage is not None:
            self._cpu, self._memory = usage.cpu, usage.memory
        return self._verdict() if turn is not None else ""

    def _share(self, usage: Usage | None, passed: float) -> float:
        """What of the time that passed the turn had."""
        if usage is None:
            return passed
        if usage.stopped:
            return 0.0
        return passed if usage.waits else min(usage.cpu - self._cpu, passed)

    def _verdict(self) -> str:
        limits = self._limits
        if limits.time and self._had >= limits.time:
            return f"a turn of its code took longer than {limits.time:g} s"
        if limits.memory and self._memory_before:
            grown = self._memory - self._memory_before
            if grown > limits.memory:
                return f"a turn of its code took more than {shown_bytes(limits.memory)} of memory"
        return ""


def shown_bytes(count: int) -> str:
    """As people say it."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
