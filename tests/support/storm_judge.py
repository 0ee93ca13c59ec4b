"""What must be true when a storm has passed."""

from __future__ import annotations

import asyncio
from typing import Any

from support.storm_code import APP
from support.world import World

from perdure.core.commands import CLOSES, StartTimer
from perdure.core.errors import WorkflowNotFoundError
from perdure.core.events import TimerFired, WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.state import Status
from perdure.engine.history import RunHistory, Turn, decode_archive
from perdure.engine.scheduler.closing import status_of
from perdure.ports.addresses import Lane

_STATUS = {
    "Careful": Status.CANCELED,
    "Doomed": Status.TERMINATED,
    "Hasty": Status.TIMED_OUT,
}


async def judge(one: World, life: Any) -> None:
    """One run: its end, its result, its history."""
    data = await one.client.archive.get(life.workflow_id, life.run)
    assert data is not None, f"{life}: not archived"
    history = decode_archive(data)
    name = f"{life.kind} {life.workflow_id} {life.run}"
    assert history.closing is not None
    close = history.closing.record.close
    assert close is not None
    assert status_of(close) is _STATUS.get(life.kind, Status.COMPLETED), f"{name}: {close}"
    result = getattr(close, "result", None)
    if result is not None:
        _judge_result(name, life, one.converter.from_payload(result))
    entry = await one.entry(life.workflow_id)
    assert entry is not None
    if entry.run == life.run:
        assert entry.status is status_of(close)
        assert entry.closed_seq == history.closing.stored.seq, f"{name}: {entry}"
        assert entry.result == result
    _judge_chain(name, history)
    _judge_replay(name, life, one, history)
    _judge_timers(name, history.all_turns)


def _judge_result(name: str, life: Any, result: Any) -> None:
    match life.kind:
        case "Errand":
            assert result[:2] == ["a", "b"] and result[2] >= 3 and result[3] == "d", (
                f"{name}: {result}"
            )
            _judge_letters(name, life, result[4])
        case "Collector":
            _judge_letters(name, life, result)
        case "Chain":
            letters, done = result
            assert done == [f"letter-{n}" for n in letters[: len(done)]], f"{name}: {result}"
            _judge_letters(name, life, letters)
        case "Patient":
            assert result[0] >= 2 and result[1] == 8, f"{name}: {result}"
        case "Polite":
            assert result == "stopped", f"{name}: {result}"
        case _:
            raise AssertionError(f"{name} has a result: {result}")


def _judge_letters(name: str, life: Any, letters: list[int]) -> None:
    # An owner that dies between two signals may swap them; none may be lost or count twice.
    assert len(set(letters)) == len(letters), f"{name}: twice: {letters}"
    lost = set(life.accepted) - set(letters)
    assert not lost, f"{name}: accepted and lost: {lost}; result {letters}"


def _judge_chain(name: str, history: RunHistory) -> None:
    """One history: records in order, each event named once, nothing after the close."""
    last = None
    for turn in history.all_turns:
        record = turn.record
        assert record.run == history.run, name
        if last is not None:
            assert record.k > last.record.k, f"{name}: {record.k} after {last.record.k}"
            assert turn.stored.seq > last.stored.seq, f"{name}: {record}"
            if record.k == last.record.k + 1:
                assert record.trail[-1] == last.stored.seq, f"{name}: trail of {record.k}"
        for command in record.commands[:-1]:
            assert not isinstance(command, CLOSES), name
        last = turn
    named = [seq for turn in history.all_turns for seq in turn.record.applied]
    assert len(named) == len(set(named)), f"{name}: events named twice"


def _judge_replay(name: str, life: Any, one: World, history: RunHistory) -> None:
    started = history.started.event
    assert isinstance(started, WorkflowStarted), name
    replayed = Instance(
        APP.workflows[life.kind],
        started,
        history.started.timestamp,
        workflow_id=life.workflow_id,
        task_queue=life.queue,
        namespace="default",
        converter=one.converter,
    )
    for turn in history.all_turns:
        events = [(e.seq, e.timestamp, e.event) for e in turn.events]
        try:
            replayed.replay(events, turn.record.commands, joined=turn.record.joined)
        except Exception as error:
            raise AssertionError(f"{name}: does not replay: {error}") from error
    replayed.dispose()


def _judge_timers(name: str, turns: list[Turn]) -> None:
    armed: dict[int, int] = {}
    for turn in turns:
        for applied in turn.events:
            event = applied.event
            if isinstance(event, TimerFired):
                assert armed.get(event.n) == event.due, f"{name}: timer {event.n} from nowhere"
                if applied.timestamp < event.due:
                    # Allowed in the log, but then the core armed it again.
                    assert any(getattr(c, "due", None) == event.due for c in turn.record.commands)
        armed |= {c.n: c.due for c in turn.record.commands if isinstance(c, StartTimer)}


async def judge_store(one: World, *, grace: float) -> None:
    """What is left when everything is closed and the grace is over: nothing."""
    server = one.store._server
    async with asyncio.timeout(20_000):
        for _ in range(60):
            await asyncio.sleep(grace)
            left = await _left(one)
            if not (left or list(server.tasks.messages()) or server.timers):
                break
    left = await _left(one)
    strays = [item for item in left if item[1] != Lane.HISTORY.value]
    assert len(left) == len(strays), f"closed runs in the log: {left}"
    assert not strays, f"strays in the log: {strays}"
    tasks = [m.subject for m in server.tasks.messages()]
    assert not tasks, f"tasks of closed runs: {tasks}"
    assert not server.timers, f"armed timers of closed runs: {list(server.timers)}"
    letters = [m.subject[0] for m in server.letters.messages()]
    assert set(letters) <= {"signal"}, f"dead letters: {letters}"


async def _left(one: World) -> list[Any]:
    """What lies in the log, but for what an id left on a queue that it is no longer on: when the
    scheduler that was to purge it died, nobody knows of it any more."""
    left: list[Any] = []
    for message in one.store._server.log.messages():
        entry = await one.entry(message.subject[0].workflow_id)
        if entry is None or entry.task_queue == message.subject[0].queue:
            left.append((message.subject[0], message.subject[1].value, message.stored))
    return left


async def stuck(one: World, ids: list[str]) -> str:
    lines = ["these workflows never ended:"]
    for i in ids:
        entry = await one.entry(i)
        if entry is None or entry.is_open:
            lines.append(f"  {i}: {entry}")
            try:
                history = await one.history(i, entry.task_queue if entry else "default")
            except (AssertionError, WorkflowNotFoundError):
                continue
            lines += [
                f"    k={turn.record.k} seq={turn.stored.seq} applied={turn.record.applied} "
                f"events={[type(e.event).__name__ for e in turn.events]} "
                f"commands={[type(c).__name__ for c in turn.record.commands]}"
                for turn in history.all_turns
            ]
    return "\n".join(lines)


__all__ = ["judge", "judge_store", "stuck"]
