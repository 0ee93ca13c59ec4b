"""The rules of the log, each turned off on its own: a storm that stays green then is not looking.

:func:`hunt` names the seed that sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from support.storm.campaign import Failure, Tally
from support.storm.store_mutants import STORE_MUTANTS
from support.storm.worker_mutants import WORKER_MUTANTS

from perdure.core.commands import ScheduleActivity, StartTimer
from perdure.core.machine import Instance
from perdure.engine import history
from perdure.engine.scheduler import beginning, closing, effects, lane, opening

type Mutant = Callable[[pytest.MonkeyPatch], None]
WITHIN = 2_000


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Events are acknowledged before the record that names them is stored."""
    real = lane.commit

    async def commit(desk: Any, live: Any) -> None:
        desk.ack(live.unrecorded)
        await real(desk, live)

    patch.setattr(lane, "commit", commit)


def _begin_before_commit(patch: pytest.MonkeyPatch, kind: type) -> None:
    real = lane.commit

    async def commit(desk: Any, live: Any) -> None:
        early = [command for command in live.commands if isinstance(command, kind)]
        await effects.perform(desk.context, desk.address, live, early, record_seq=live.tip)
        await real(desk, live)

    patch.setattr(lane, "commit", commit)


def timer_armed_before_commit(patch: pytest.MonkeyPatch) -> None:
    """A timer is armed before the record that decided it is stored."""
    _begin_before_commit(patch, StartTimer)


def task_published_before_commit(patch: pytest.MonkeyPatch) -> None:
    """A task is queued before the record that decided it is stored."""
    _begin_before_commit(patch, ScheduleActivity)


def no_redispatch(patch: pytest.MonkeyPatch) -> None:
    """Whoever loads a run does not repeat the newest record's effects."""

    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(beginning, "_redispatch", nothing)


def no_identities(patch: pytest.MonkeyPatch) -> None:
    """The second of two events with one identity counts too."""
    patch.setattr(Instance, "_is_again", lambda *_: False)


def close_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """A close stands although the inbox held events that no record names."""

    async def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    patch.setattr(closing, "late_events", nothing)
    patch.setattr(opening, "late_events", nothing)


def strange_events_unverified(patch: pytest.MonkeyPatch) -> None:
    """Events of another run are acknowledged without a look at the log."""
    real = lane.WorkflowLane._addressed_to

    async def addressed_to(self: Any, live: Any, items: list[Any]) -> list[Any]:
        strange = [item for item in items if lane.is_of_another_run(live, item)]
        self._desk.ack(strange)
        return await real(self, live, [item for item in items if item not in strange])

    patch.setattr(lane.WorkflowLane, "_addressed_to", addressed_to)


def replay_in_stream_order(patch: pytest.MonkeyPatch) -> None:
    """A load applies events in the order of the stream, not of the records."""
    real = history._events

    def events(applied: Any, messages: Any) -> Any:
        return real(sorted(applied), messages)

    patch.setattr(history, "_events", events)


def late_start_unverified(patch: pytest.MonkeyPatch) -> None:
    """A start event begins a run without a look at STATE or the log."""

    async def begin_fresh(desk: Any, item: Any) -> bool:
        if not isinstance(item.event, beginning.WorkflowStarted):
            return False
        desk.live = await beginning.fresh(desk.context, desk.address, item, after=desk.tip)
        return True

    patch.setattr(beginning, "_begin_fresh", begin_fresh)


def state_goes_back(patch: pytest.MonkeyPatch) -> None:
    """STATE is written over whatever is there."""

    async def write(context: Any, entry: Any, *, revision: int, ttl: int = 0) -> int:
        state = context.backend.state
        while True:
            found = await state.read(entry.workflow_id)
            data = await closing._state_bytes(context, entry)
            try:
                return await state.update(entry.workflow_id, data, revision=found[1], ttl=ttl)
            except closing.Conflict:
                continue

    patch.setattr(closing, "write_forward", write)


def timer_fires_early(patch: pytest.MonkeyPatch) -> None:
    """A timer whose event came before its time by the log is taken for fired."""
    steps = dict(Instance._STEPS)

    def fired(self: Instance, event: Any) -> None:
        timer = self.ledger.timers.pop(event.n, None)
        if timer is not None:
            timer.fire()

    steps[effects.TimerFired] = fired
    patch.setattr(Instance, "_STEPS", steps)


def blocked_events_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Whoever goes on with a blocked run does not look for what was acknowledged meanwhile."""

    async def nothing(*_: Any) -> list[Any]:
        return []

    patch.setattr(opening, "_unnamed", nothing)


MUTANTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        acknowledge_before_commit,
        timer_armed_before_commit,
        task_published_before_commit,
        no_redispatch,
        no_identities,
        close_without_a_look,
        strange_events_unverified,
        replay_in_stream_order,
        late_start_unverified,
        state_goes_back,
        timer_fires_early,
        blocked_events_forgotten,
        *STORE_MUTANTS,
        *WORKER_MUTANTS,
    )
}


def hunt(name: str, run_seeds: Callable[[Iterable[int]], Tally]) -> Failure | None:
    """The first seed that sees the mutant of that name, and what it saw."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        for seed in range(WITHIN):
            failures = run_seeds([seed]).failures
            if failures:
                return failures[0]
    return None


__all__ = ["MUTANTS", "WITHIN", "Mutant", "hunt"]
