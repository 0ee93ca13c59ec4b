"""The rules of the log, each turned off on its own: a storm that stays green then is not looking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.adapters.memory.log import MemoryEventLog
from perdure.core.machine import Instance
from perdure.engine import history
from perdure.engine.scheduler import beginning, closing, effects, lane, opening
from perdure.ports.addresses import Address, Lane

Mutant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    real = lane.commit

    async def commit(desk: Any, live: Any) -> None:
        desk.ack(live.unrecorded)
        await real(desk, live)

    patch.setattr(lane, "commit", commit)


def commit_without_cas(patch: pytest.MonkeyPatch) -> None:
    async def commit(self: MemoryEventLog, to: Address, data: bytes, *, after: int) -> int:
        return await self._call(lambda: self._log.append((to, Lane.HISTORY), data))

    patch.setattr(MemoryEventLog, "commit", commit)


def effects_before_commit(patch: pytest.MonkeyPatch) -> None:
    real = lane.commit

    async def commit(desk: Any, live: Any) -> None:
        await effects.perform(desk.context, desk.address, live, live.commands, record_seq=live.tip)
        await real(desk, live)

    patch.setattr(lane, "commit", commit)


def no_redispatch(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        return None

    patch.setattr(beginning, "_redispatch", nothing)


def no_identities(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Instance, "_is_again", lambda *_: False)


def close_without_a_look(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    patch.setattr(closing, "late_events", nothing)
    patch.setattr(opening, "late_events", nothing)


def strange_events_unverified(patch: pytest.MonkeyPatch) -> None:
    real = lane.WorkflowLane._addressed_to

    async def addressed_to(self: Any, live: Any, items: list[Any]) -> list[Any]:
        strange = [item for item in items if lane.is_of_another_run(live, item)]
        self._desk.ack(strange)
        return await real(self, live, [item for item in items if item not in strange])

    patch.setattr(lane.WorkflowLane, "_addressed_to", addressed_to)


def replay_in_stream_order(patch: pytest.MonkeyPatch) -> None:
    real = history._events

    def events(applied: Any, messages: Any) -> Any:
        return real(sorted(applied), messages)

    patch.setattr(history, "_events", events)


MUTANTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        acknowledge_before_commit,
        commit_without_cas,
        effects_before_commit,
        no_redispatch,
        no_identities,
        close_without_a_look,
        strange_events_unverified,
        replay_in_stream_order,
    )
}

__all__ = ["MUTANTS"]
