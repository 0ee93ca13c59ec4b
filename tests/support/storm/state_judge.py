"""Judging what the engine says of runs: STATE, and the announcements to other services."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from support.storm.deployment import Deployment
from support.storm.promises import Histories, Judged, promise

from perdure.core.state import StateEntry


def judge_state(one: Deployment, histories: Histories) -> None:
    """Every entry that STATE ever had is true, and they only move forward."""
    for workflow_id, entries in one.chronicle.state.items():
        left: set[str] = set()
        before: StateEntry | None = None
        for entry in entries:
            if before is not None:
                _judge_step(before, entry, left)
                left |= {before.run} if entry.run != before.run else set()
            before = entry
            run = histories.get((workflow_id, entry.run))
            promise(run is not None, f"STATE had run {entry.run}, the archive not", workflow_id)
            if run is not None and not entry.is_open:
                _judge_end(entry, run)
        promise(before is None or not before.is_open, "STATE says that it is open", workflow_id)


def _judge_step(before: StateEntry, entry: StateEntry, left: set[str]) -> None:
    step = f"STATE went from {before} to {entry}"
    promise(entry.run not in left, f"{step}: back to a run that was over", entry.workflow_id)
    if entry.run != before.run:
        promise(not before.is_open, f"{step}: the run was open", entry.workflow_id)
        return
    promise(before.is_open or not entry.is_open, f"{step}: open again", entry.workflow_id)
    promise(entry.k >= before.k, f"{step}: back", entry.workflow_id)


def _judge_end(entry: StateEntry, run: Judged) -> None:
    close: Any = run.close
    said = (entry.status, entry.closed_seq, entry.k, entry.task_queue, entry.workflow_type)
    true = (run.status, run.closed_seq, run.history.all_turns[-1].record.k, run.queue, run.kind)
    promise(said == true, f"STATE says {said}, the history {true}", run.workflow_id)
    result = getattr(close, "result", None)
    promise(entry.result == result, f"STATE has result {entry.result!r:.200}", run.workflow_id)
    told = entry.failure.message if entry.failure else None
    known = None if result is not None else close.failure.message
    promise(told == known, f"STATE says {told!r}, the history {known!r}", run.workflow_id)
    length = sum(len(t.events) + len(t.record.commands) for t in run.history.all_turns)
    counted = entry.history_length
    promise(counted == length, f"STATE counts {counted}, not {length}", run.workflow_id)


def judge_announcements(one: Deployment, histories: Histories) -> None:
    """Start and end of every run were announced, the start first, and never differently."""
    told: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for message in one.world.store._server.events.messages():
        body = msgspec.json.decode(message.stored.data)
        told[body["id"], body["run_id"]].append(body)
    for (workflow_id, run_id), run in histories.items():
        words = told.pop((workflow_id, run_id), [])
        events = [word["event"] for word in words]
        for event in ("started", "closed"):
            promise(event in events, f"run {run_id} ({run.kind}): no {event} event", workflow_id)
        for word in words:
            expected = "running" if word["event"] == "started" else run.status.value
            said = (word["status"], word["type"], word["task_queue"])
            true = (expected, run.kind, run.queue)
            promise(said == true, f"run {run_id} was announced as {word}", workflow_id)
    promise(not told, f"announcements of runs that never were: {sorted(told)}")


__all__ = ["judge_announcements", "judge_state"]
