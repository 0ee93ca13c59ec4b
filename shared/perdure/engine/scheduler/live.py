"""A run in memory: its instance, its place in the log, and what it has applied but not recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure.core.commands import Command
from perdure.core.events import OUTSIDE, Event, WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.records import next_trail
from perdure.engine.history import AppliedEvent, RunHistory, Turn
from perdure.ports.addresses import Lane
from perdure.ports.log import Delivery

_FROM_OUTSIDE = (*OUTSIDE, WorkflowStarted)

KEEP_BYTES = 16 * 1024
"""So much of a run's history is kept for the archive, since thousands of runs wait in memory; a
longer one is read again at its close."""


@dataclass(slots=True, eq=False)
class Item:
    """One event on its way into a record. ``rank`` orders what is pending together."""

    seq: int
    timestamp: int
    data: bytes
    event: Event | None
    lane: Lane
    delivery: Delivery | None = None
    rank: int = 0

    @property
    def is_forged(self) -> bool:
        return is_forged(self.event, self.lane)

    def as_applied(self) -> AppliedEvent:
        return AppliedEvent(self.seq, self.timestamp, self.data, self.event)


def is_forged(event: Event | None, lane: Lane) -> bool:
    """Whether an outsider says what only the engine may: such an event is named by no record."""
    if lane is not Lane.EXTERNAL or event is None:
        return False
    return not isinstance(event, _FROM_OUTSIDE)


START_RANK, LATE_RANK, EXTERNAL_RANK, ENGINE_RANK, COMPLETING_RANK = range(5)


@dataclass(slots=True)
class LiveRun:
    """``tip`` and ``trail`` are what the next record builds on, ``k`` is its number."""

    instance: Instance
    run: str
    started: WorkflowStarted
    started_at: int
    tip: int
    k: int = 0
    trail: list[int] = field(default_factory=list[int])
    named: set[int] = field(default_factory=set[int])
    unrecorded: list[Item] = field(default_factory=list[Item])
    commands: list[Command] = field(default_factory=list[Command])
    turns: list[Turn] | None = field(default_factory=list[Turn])
    """All of them, or None once they are too much to keep. One alone is always kept."""
    kept: int = 0
    """Bytes of ``turns``."""
    joined: bool = False
    """The next record applies outsiders' events as one step."""
    cut: int = 0
    """Sequence of the first void closing record that the next one has to cover."""
    after: int = 0
    """The id's record before this run: events up to there were for an earlier one."""
    start_seq: int = 0
    revision: int = 0
    was_blocked: bool = False
    """STATE still says that events may lie in the log which no record names."""
    since: float = 0.0
    """When a fresh run came into memory, in loop time."""

    @property
    def has_one_turn(self) -> bool:
        """Whether its newest record, void ones apart, is its first: the one that tells of its start."""
        return self.turns is not None and len(self.turns) == 1

    @property
    def applied(self) -> set[int]:
        """What is applied without a record yet."""
        return {item.seq for item in self.unrecorded}

    def committed(self, turn: Turn) -> None:
        """The next record went in as ``turn``."""
        seq = turn.stored.seq
        self.trail = next_trail(self.trail, turn.record.k, seq)
        self.tip = seq
        self.k += 1
        self.named.update(turn.record.applied)
        self.unrecorded = []
        self.commands = []
        self.joined = False
        self.keep(turn)

    def keep(self, turn: Turn) -> None:
        """Keep a turn for the archive, while they are few."""
        if self.turns is None:
            return
        self.kept += turn.size
        self.turns.append(turn)
        if self.kept > KEEP_BYTES and len(self.turns) > 1:
            self.turns = None


def from_history(history: RunHistory, instance: Instance, started: WorkflowStarted) -> LiveRun:
    """The run that ``instance`` is after replaying ``history.turns``."""
    first = history.started
    live = LiveRun(
        instance=instance,
        run=history.run,
        started=started,
        started_at=first.timestamp,
        tip=history.tip,
        k=history.k + 1,
        trail=history.trail,
        named=set(history.named),
        cut=history.cut,
        after=history.all_turns[0].record.after,
        start_seq=first.seq,
        revision=started.revision,
    )
    for turn in history.turns:
        live.keep(turn)
    return live
