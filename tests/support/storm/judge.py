"""Judging one run: one history, in order, which the code tells again byte for byte."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from support.storm.code import BULK, NEW, OLD
from support.storm.deployment import Deployment
from support.storm.promises import Broken, Judged, promise

from perdure.core.commands import (
    CLOSES,
    Command,
    RetryActivity,
    ScheduleActivity,
    StartTimer,
    TerminateWorkflow,
)
from perdure.core.definitions import WorkflowDefinition
from perdure.core.events import OUTSIDE, Event, TimerFired, WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.records import Record, decode_record
from perdure.core.replay import compare
from perdure.engine.history import Turn, decode_archived_run
from perdure.engine.payloads import PayloadStore, is_ref, may_hold_ref
from perdure.engine.scheduler.closing import status_of

_encode = msgspec.json.Encoder().encode


async def judge_run(one: Deployment, workflow_id: str, run: str, data: bytes) -> Judged:
    """What the archive has of a run, held against everything that the log ever had."""
    if data.startswith(b'{"blob":'):
        key = msgspec.json.decode(data, type=dict[str, str])["blob"]
        data = one.world.store._server.blobs[key]
    archived = decode_archived_run(data)
    history = archived.history
    started = history.started.event
    closing = history.closing
    promise(isinstance(started, WorkflowStarted), f"run {run} has no start", workflow_id)
    assert isinstance(started, WorkflowStarted)
    promise(closing is not None and closing.record.close, f"run {run} has no close", workflow_id)
    assert closing is not None and closing.record.close is not None
    judged = Judged(
        workflow_id=workflow_id,
        queue=archived.address.queue,
        run=run,
        kind=started.workflow_type,
        started=started,
        history=history,
        close=closing.record.close,
        status=status_of(closing.record.close),
        closed_seq=closing.stored.seq,
        eids=frozenset(
            applied.event.eid
            for turn in history.all_turns
            for applied in turn.events
            if isinstance(applied.event, OUTSIDE)
        ),
    )
    _judge_log(one, judged)
    _judge_decisions(judged)
    await _judge_replay(one, judged)
    _judge_result(one, judged)
    return judged


def _judge_log(one: Deployment, run: Judged) -> None:
    """One history: each record on the one before, none after the close, the archive has them all."""
    mine: list[tuple[int, Record, bytes]] = []
    runs: list[str] = []
    for stored in one.chronicle.records(run.workflow_id):
        record = decode_record(stored.data)
        runs += [record.run] if record.run not in runs[-1:] else []
        if record.run == run.run:
            mine.append((stored.seq, record, stored.data))
    where = f"run {run.run}"
    promise(runs.count(run.run) == 1, f"{where} and others take turns: {runs}", run.workflow_id)
    for position, (seq, record, _) in enumerate(mine):
        promise(record.k == position, f"{where}: record {record.k} at {position}", run.workflow_id)
        before = mine[position - 1][0] if position else 0
        promise(
            not position or record.trail[-1] == before,
            f"{where}: record {record.k} (#{seq}) does not follow #{before}",
            run.workflow_id,
        )
    valid = [
        item
        for position, item in enumerate(mine)
        if item[1].close is None or position == len(mine) - 1
    ]
    kept = [(turn.stored.seq, turn.record.k) for turn in run.history.all_turns]
    logged = [(seq, record.k) for seq, record, _ in valid]
    promise(kept == logged, f"{where}: archived {kept}, in the log {logged}", run.workflow_id)
    for turn, (seq, record, data) in zip(run.history.all_turns, valid, strict=True):
        same = bool(record.blob) or turn.stored.data == data
        promise(same, f"{where}: record #{seq} is archived otherwise", run.workflow_id)


def _judge_decisions(run: Judged) -> None:
    """Nothing decided twice, no event applied twice, nothing after the end."""
    named = [seq for turn in run.history.all_turns for seq in turn.record.applied]
    promise(len(named) == len(set(named)), f"run {run.run}: events named twice", run.workflow_id)
    begun: Counter[tuple[Any, ...]] = Counter()
    for turn in run.history.all_turns:
        for command in turn.record.commands:
            match command:
                case ScheduleActivity():
                    begun["activity", command.n] += 1
                case RetryActivity():
                    begun["retry", command.n, command.attempt] += 1
                case _:
                    continue
        for command in turn.record.commands[:-1]:
            promise(not isinstance(command, CLOSES), f"run {run.run} ends twice", run.workflow_id)
    twice = [what for what, count in begun.items() if count > 1]
    promise(not twice, f"run {run.run}: decided twice: {twice}", run.workflow_id)


async def _judge_replay(one: Deployment, run: Judged) -> None:
    """The code decides the same again; every timer fires once, and by the log not too early."""
    payloads = PayloadStore(one.world.client.blobs)
    instance = Instance(
        _code_of(run),
        run.started,
        run.history.started.timestamp,
        workflow_id=run.workflow_id,
        task_queue=run.queue,
        namespace="default",
        converter=one.world.converter,
    )
    fired: Counter[int] = Counter()
    for turn in run.history.all_turns:
        events: list[tuple[int, Event]] = []
        for applied in turn.events:
            if applied.event is not None:
                event = applied.event
                if may_hold_ref(applied.data):
                    event = await payloads.restore_event(event, owner=run.workflow_id)
                events.append((applied.timestamp, event))
        if not _needs_no_code(run, turn):
            _judge_same(run, turn, _replayed(instance, turn, events, fired, run))
    twice = [n for n, count in fired.items() if count > 1]
    promise(not twice, f"run {run.run}: timers fired twice: {twice}", run.workflow_id)
    instance.dispose()


def _code_of(run: Judged) -> WorkflowDefinition:
    """The code of the build that began the run."""
    first = run.history.all_turns[0].record.commands
    slept = any(isinstance(c, StartTimer) and c.purpose == "sleep" for c in first)
    return (OLD if run.kind == "Turncoat" and slept else NEW).workflows[run.kind]


def _needs_no_code(run: Judged, turn: Turn) -> bool:
    """Whether a run that may have been blocked was terminated by this record."""
    return run.kind in ("Turncoat", "Stranger") and isinstance(turn.record.close, TerminateWorkflow)


def _replayed(
    instance: Instance,
    turn: Turn,
    events: list[tuple[int, Event]],
    fired: Counter[int],
    run: Judged,
) -> list[Command]:
    produced: list[Command] = []
    if turn.record.joined:
        outside = [(event, at) for at, event in events if isinstance(event, OUTSIDE)]
        produced += instance.apply_together(outside)
        events = [item for item in events if not isinstance(item[1], OUTSIDE)]
    for timestamp, event in events:
        armed = set(instance.ledger.timers)
        produced += instance.apply(event, timestamp=timestamp)
        if isinstance(event, TimerFired) and event.n in armed - instance.ledger.timers.keys():
            fired[event.n] += 1
            early = event.due - instance.host.instant
            promise(early <= 0, f"run {run.run}: timer {event.n} {early} ns early", run.workflow_id)
    return produced


def _judge_same(run: Judged, turn: Turn, produced: list[Command]) -> None:
    recorded = turn.record.commands
    if may_hold_ref(turn.stored.data):
        compare(recorded, produced, event=turn.stored.seq)
        return
    told, again = _encode(recorded), _encode(produced)
    if told != again:
        raise Broken(
            f"run {run.run}: record {turn.record.k} has {told!r:.600}, the code says {again!r:.600}",
            run.workflow_id,
        )


def _judge_result(one: Deployment, run: Judged) -> None:
    payload = getattr(run.close, "result", None)
    if payload is None or is_ref(payload):
        return
    result: Any = one.world.converter.from_payload(payload)
    expected: Any = {
        "Patient": lambda: result[0] >= 2 and result[1] == 8,
        "Polite": lambda: result == "stopped",
        "Brief": lambda: result == "brief",
        "Instant": lambda: result == 3,
        "Forlorn": lambda: result == "y",
        "Bulky": lambda: result == "x" * BULK,
        "Errand": lambda: result[:2] == ["a", "b"] and result[2] >= 3 and result[3] == "d",
        "Chain": lambda: result[1] == [f"letter-{n}" for n in result[0][: len(result[1])]],
        "Collector": lambda: len(result) >= 3,
        "Stranger": lambda: len(result) >= 3,
        "Turncoat": lambda: len(result) >= 3,
    }.get(run.kind)
    promise(expected is not None and expected(), f"a strange result: {result}", run.workflow_id)
    letters = {"Errand": lambda: result[4], "Chain": lambda: result[0]}.get(run.kind)
    numbers = letters() if letters else result if isinstance(result, list) else []
    if run.kind != "Patient":
        promise(len(set(numbers)) == len(numbers), f"letters twice: {numbers}", run.workflow_id)


__all__ = ["judge_run"]
