"""What may be done twice when processes are killed: only an activity that a killed worker had in hand.

An attempt that died counts, so the next one has the next number. What an activity leaves in the
file of effects is held against the life that its workflow would have had undisturbed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from support.deployments import Deed

from perdure.authoring.app import App
from perdure.client import Client, WorkflowHistory
from perdure.converter import DataConverter
from perdure.core.errors import NondeterminismError
from perdure.core.events import WorkflowStarted, identity
from perdure.core.machine import Instance

Steps = tuple[tuple[str, int], ...]
"""Names of activities with the number of the attempt."""


@dataclass(frozen=True)
class Death:
    """By when which process was gone. ``woken``: it only stood still. It was given tasks all the same,
    and may do some, in vain, when it goes on."""

    pid: int
    time: float
    woken: bool = False


def steps(*lines: str) -> Steps:
    """``"book 1"`` and so on."""
    return tuple((name, int(attempt)) for name, attempt in map(str.split, lines))


def judge_deeds(
    workflow_id: str, deeds: Sequence[Deed], life: Steps, deaths: Sequence[Death] = ()
) -> None:
    """Each step of ``life`` once and in order, but for those that the death of a worker cut."""
    own = [deed for deed in deeds if deed.line.startswith(f"{workflow_id} ")]
    possible = {life}
    last: Deed | None = None
    for deed in own:
        step = _step_of(deed)
        left = _cut(possible, last, deed, deaths)
        possible = {rest[1:] for rest in left if rest and rest[0] == step}
        if any(death.woken and death.pid == deed.pid for death in deaths):
            possible |= left
        last = deed
        assert possible, _complaint(workflow_id, own, deaths, f"{deed.line!r} should not be there")
    missing = "; or ".join(sorted(str(rest) for rest in possible))
    assert () in possible, _complaint(workflow_id, own, deaths, f"missing: {missing}")


def _cut(
    possible: set[Steps], last: Deed | None, deed: Deed, deaths: Sequence[Death]
) -> set[Steps]:
    """What may be left to do, with the deaths between two deeds in mind."""
    since = last.time if last is not None else 0.0
    between = [
        death
        for death in deaths
        if (since <= death.time or death.woken) and death.time <= deed.time
    ]
    found = set(possible)
    if last is not None and any(death.pid == last.pid for death in between):
        step = _step_of(last)
        found |= {_again(step, rest) for rest in possible}
        if step[1] > 1:
            # After a backoff only a heartbeat tells that it had begun: it keeps its number.
            found |= {(step, *rest) for rest in possible}
    for _ in between:
        found |= {_again(rest[0], rest[1:]) for rest in found if rest}
    return found


def _step_of(deed: Deed) -> tuple[str, int]:
    _, name, attempt = deed.line.split()
    return name, int(attempt)


def _again(step: tuple[str, int], rest: Steps) -> Steps:
    """The attempt ``step`` died: the activity's next one follows, unless it would have anyway."""
    name, attempt = step
    if rest and rest[0] == (name, attempt + 1):
        return rest
    return ((name, attempt + 1), *rest)


def _complaint(workflow_id: str, own: Sequence[Deed], deaths: Sequence[Death], what: str) -> str:
    lines = [f"{deed.time:.3f} pid {deed.pid}: {deed.line}" for deed in own]
    lines += [f"{death.time:.3f} pid {death.pid}: killed" for death in deaths]
    return "\n".join([f"{workflow_id}: {what}", *sorted(lines)])


def without_repeats(history: WorkflowHistory) -> list[dict[str, Any]]:
    """The history's events and commands, without events that count as those before them: a timer may
    fire twice, a result be reported again."""
    seen: set[str] = set()
    repeats: set[int] = set()
    for turn in history.turns:
        for applied in turn.events:
            name = identity(applied.event) if applied.event is not None else ""
            if name in seen:
                repeats.add(applied.seq)
            seen.add(name)
    return [row for row in history.events if row["sequence"] not in repeats]


def judge_replay(history: WorkflowHistory, app: App) -> None:
    """The history is one life: records in order, no event named twice, and its code decides the same
    again."""
    started = next(
        applied
        for turn in history.turns
        for applied in turn.events
        if isinstance(applied.event, WorkflowStarted)
    )
    event: Any = started.event
    replayed = Instance(
        app.workflows[event.workflow_type],
        event,
        started.timestamp,
        workflow_id=history.workflow_id,
        task_queue="default",
        namespace="default",
        converter=DataConverter.default().payload_converter,
    )
    named: list[int] = []
    for turn in history.turns:
        events = [(one.seq, one.timestamp, one.event) for one in turn.events]
        named += [one.seq for one in turn.events]
        try:
            replayed.replay(events, turn.record.commands, joined=turn.record.joined)
        except NondeterminismError as error:
            raise AssertionError(f"{history.workflow_id} does not replay: {error}") from error
    replayed.dispose()
    assert len(named) == len(set(named)), f"{history.workflow_id}: events named twice: {named}"
    numbers = [turn.record.k for turn in history.turns]
    assert numbers == sorted(set(numbers)), f"{history.workflow_id}: records {numbers}"


async def judge_letters(client: Client) -> None:
    """Nobody's request was refused: only the activity that is meant to fail has letters."""
    letters = [json.loads(letter.data) async for letter in client.backend.dead_letters.scan()]
    strange = [letter for letter in letters if letter.get("activity_type") != "refused"]
    assert not strange, f"dead letters: {strange}"
