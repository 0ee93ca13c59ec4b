"""What must be true of a load when it is over: the senders' receipts against what the store holds.

Everything is read in bulk, once, when nothing moves any more.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from support.deployments import Deed
from support.load import Life
from support.load_code import APP, Parcel

from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.paging import each
from perdure.adapters.jetstream.subjects import Subjects
from perdure.converter import DataConverter
from perdure.core.commands import CLOSES
from perdure.core.events import ActivityCompleted, TimerFired, WorkflowStarted
from perdure.core.machine import Instance
from perdure.core.records import Record, decode_record
from perdure.core.state import StateEntry, Status, decode_state
from perdure.engine.history import RunHistory, decode_archive

_SECOND = 1e9
_REPLAYED = 5_000
"""Histories that are replayed, drawn from all: each takes a millisecond."""


@dataclass
class Archived:
    run: str
    history: RunHistory


@dataclass
class Findings:
    """What the store holds, by workflow id."""

    states: dict[str, StateEntry] = field(default_factory=dict[str, StateEntry])
    archived: defaultdict[str, list[Archived]] = field(default_factory=lambda: defaultdict(list))
    records: defaultdict[str, list[tuple[int, Record]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    closed_events: Counter[str] = field(default_factory=Counter[str])
    letters: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Dead ones."""
    tasks: list[str] = field(default_factory=list[str])
    timers: list[str] = field(default_factory=list[str])


async def find(link: Link) -> Findings:
    """Read every stream of the default namespace."""
    found, subjects = Findings(), Subjects("default")
    base = subjects.base
    async for raw in each(link, subjects.state_stream, f"$KV.{subjects.state_bucket}.>"):
        entry = decode_state(raw.data)
        found.states[entry.workflow_id] = entry
    async for raw in each(link, subjects.archive_stream, f"{base}_archive.>"):
        workflow_id, run = subjects.parse_archive(raw.subject)
        found.archived[workflow_id].append(Archived(run, decode_archive(raw.data)))
    async for raw in each(link, subjects.log_stream, f"{base}_wf.*.*.*.hist"):
        address, _ = subjects.parse_lane(raw.subject)
        found.records[address.workflow_id].append((raw.seq, decode_record(raw.data)))
    async for raw in each(link, subjects.log_stream, subjects.all_timers):
        found.timers.append(raw.subject)
    async for raw in each(link, subjects.events_stream, f"{base}events.>"):
        if msgspec.json.decode(raw.data)["event"] == "closed":
            found.closed_events[subjects.parse_event(raw.subject)[1]] += 1
    async for raw in each(link, subjects.dead_letters_stream, f"{base}_dlq.>"):
        found.letters.append(msgspec.json.decode(raw.data))
    async for raw in each(link, subjects.tasks_stream, f"{base}_task.>"):
        found.tasks.append(raw.subject)
    return found


@dataclass
class Verdict:
    """Counts for whoever reads the run's report."""

    workflows: int
    doubtful_letters: int
    doubtful_taken: int
    repeated: int
    """Activities whose deed was done more than once."""
    void_closes: int
    closed_events_repeated: int
    dead_letters: Counter[str]


def judge(
    lives: Sequence[Life], found: Findings, deeds: Sequence[Deed], *, blind: float
) -> Verdict:
    """Raises AssertionError naming the first workflow that is not as it must be. ``blind``: seconds
    between what a worker knows of the log and its deed."""
    converter = DataConverter.default().payload_converter
    ids = {one.workflow_id for one in lives}
    assert set(found.states) == ids, "workflows that nobody started, or that are lost"
    assert set(found.archived) == ids and set(found.records) == ids
    done: defaultdict[str, list[Deed]] = defaultdict(list)
    for deed in deeds:
        done[deed.line.split()[0]].append(deed)
    taken = void = 0
    drawn = set(random.Random(len(lives)).sample(range(len(lives)), min(_REPLAYED, len(lives))))
    for one in lives:
        entry = found.states[one.workflow_id]
        assert entry.result is not None, f"{one}: {entry}"
        result = converter.from_payload(entry.result)
        taken += _judge_result(one, entry, result)
        archived = found.archived[one.workflow_id][-1]
        runs = [each.run for each in found.archived[one.workflow_id]]
        assert runs == [entry.run], f"{one}: {runs}, {entry}"
        void += _judge_log(one, entry, archived.history, found.records[one.workflow_id])
        if one.number in drawn:
            _judge_replay(one, archived.history, converter)
        _judge_deeds(one, archived.history, done[one.workflow_id], blind)
        assert found.closed_events[one.workflow_id], f"{one}: its close was not announced"
    assert not found.tasks, f"tasks of closed runs: {found.tasks[:9]}"
    assert not found.timers, f"timers of closed runs: {found.timers[:9]}"
    _judge_letters(found, {one.workflow_id: one for one in lives})
    return Verdict(
        workflows=len(lives),
        doubtful_letters=sum(len(one.doubtful) for one in lives),
        doubtful_taken=taken,
        repeated=sum(len(deeds) > 1 for deeds in done.values()),
        void_closes=void,
        closed_events_repeated=sum(count - 1 for count in found.closed_events.values()),
        dead_letters=Counter(str(letter.get("reason")) for letter in found.letters),
    )


def _judge_result(one: Life, entry: StateEntry, result: Any) -> int:
    """How many letters without a receipt counted."""
    assert entry.status is Status.COMPLETED, f"{one}: {entry}"
    assert result["stamped"] == f"stamped {one.workflow_id}", f"{one}: {result}"
    read = Counter(result["letters"])
    assert all(count == 1 for count in read.values()), f"{one}: a letter counted twice: {result}"
    assert set(one.letters) <= set(read), f"{one}: a letter with a receipt is lost: {result}"
    strangers = set(read) - set(one.letters)
    assert strangers <= set(one.doubtful), f"{one}: letters that nobody sent: {result}"
    return len(strangers)


def _judge_log(
    one: Life, entry: StateEntry, history: RunHistory, records: list[tuple[int, Record]]
) -> int:
    """One run, one close that counts, and the archive tells what the log holds. How many closing
    records were void."""
    assert {record.run for _, record in records} == {entry.run}, f"{one}: more than one run"
    assert [record.k for _, record in records] == list(range(len(records))), f"{one}: {records}"
    last_seq, last = records[-1]
    assert last.close is not None, f"{one}: something was recorded after its close: {records}"
    assert entry.closed_seq == last_seq, f"{one}: STATE names another close: {entry}"
    valid = [(seq, record) for seq, record in records if record.close is None or seq == last_seq]
    archived = [(turn.stored.seq, turn.record) for turn in history.all_turns]
    assert archived == valid, f"{one}: the archive differs from the log"
    close = history.closing.record.close if history.closing is not None else None
    assert getattr(close, "result", None) == entry.result, f"{one}: {close} is not {entry}"
    named = [seq for _, record in valid for seq in record.applied]
    assert len(named) == len(set(named)), f"{one}: an event was applied twice"
    for _, record in records:
        assert not any(isinstance(command, CLOSES) for command in record.commands[:-1]), one
    return len(records) - len(valid)


def _judge_replay(one: Life, history: RunHistory, converter: Any) -> None:
    started = history.started.event
    assert isinstance(started, WorkflowStarted), one
    instance = Instance(
        APP.workflows[Parcel.__name__],
        started,
        history.started.timestamp,
        workflow_id=one.workflow_id,
        task_queue="default",
        namespace="default",
        converter=converter,
    )
    for turn in history.all_turns:
        events = [(item.seq, item.timestamp, item.event) for item in turn.events]
        try:
            instance.replay(events, turn.record.commands, joined=turn.record.joined)
        except Exception as error:
            raise AssertionError(f"{one}: does not replay: {error}") from error
    instance.dispose()


def _judge_deeds(one: Life, history: RunHistory, deeds: list[Deed], blind: float) -> None:
    """Done once; again only by somebody who could not know of the first, since its outcome was not
    in the log yet."""
    events = [item for turn in history.all_turns for item in turn.events]
    outcomes = [item for item in events if isinstance(item.event, ActivityCompleted)]
    assert len(outcomes) >= 1 and deeds, f"{one}: {outcomes}, {deeds}"
    known_at = min(item.timestamp for item in outcomes) / _SECOND
    late = [deed for deed in deeds if deed.time > known_at + blind]
    assert not late, f"{one}: done again after its outcome was known at {known_at}: {deeds}"
    if one.rest:
        fired = [item.timestamp for item in events if isinstance(item.event, TimerFired)]
        rested = (max(fired) - history.started.timestamp) / 1e6
        assert rested >= one.rest, f"{one}: its timer fired after {rested} ms"


def _judge_letters(found: Findings, lives: dict[str, Life]) -> None:
    """Only what was sent again after it had been taken may be dead: a second word to go."""
    for letter in found.letters:
        one = lives.get(str(letter.get("workflow_id")))
        assert one is not None and letter.get("signal") != "letter", f"a dead letter: {letter}"
