"""Bytes that were written once are read for ever: tests/histories is kept, and only grows."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.recorded import HISTORIES, RECORDED

from perdure.authoring.definitions import definition_of
from perdure.converter import DataConverter
from perdure.core import commands, events
from perdure.core.events import WorkflowStarted, decode_event, encode_event
from perdure.core.machine import Instance
from perdure.core.records import decode_record, encode_record
from perdure.core.state import decode_state, encode_state
from perdure.core.tasks import decode_task, encode_task

_command = msgspec.json.Decoder(commands.Command)
CODECS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "events": (decode_event, encode_event),
    "commands": (_command.decode, msgspec.json.encode),
    "records": (decode_record, encode_record),
    "tasks": (decode_task, encode_task),
    "states": (decode_state, encode_state),
}
WIRE: dict[str, list[str]] = json.loads((HISTORIES / "wire-1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("kind", "text"), [(k, text) for k, v in WIRE.items() for text in v])
def test_golden_bytes_read_and_write_alike(kind: str, text: str) -> None:
    decode, encode = CODECS[kind]
    assert encode(decode(text.encode())) == text.encode()


def test_there_is_a_golden_example_of_everything() -> None:
    for kind, union in (("events", events.Event), ("commands", commands.Command)):
        written = {type(CODECS[kind][0](text.encode())) for text in WIRE[kind]}
        assert written == set(union.__args__)
    for kind, (decode, _) in CODECS.items():
        fields: dict[type, set[str]] = {}
        for text in WIRE[kind]:
            value = decode(text.encode())
            fields.setdefault(type(value), set()).update(json.loads(text))
        for struct, seen in fields.items():
            missing = set(struct.__struct_fields__) - seen
            # A format is written from the second on.
            assert missing <= {"format"}, f"{struct.__name__} has no example of {missing}"


@pytest.mark.parametrize("name", sorted(p.stem for p in HISTORIES.glob("*.json")))
def test_every_file_is_looked_at(name: str) -> None:
    assert name == "wire-1" or name in RECORDED


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_history_replays_today(name: str) -> None:
    from support import recorded

    saved = json.loads((HISTORIES / f"{name}.json").read_text(encoding="utf-8"))
    instance: Instance | None = None
    for turn in saved["turns"]:
        record = decode_record(turn["record"].encode())
        assert encode_record(record).decode() == turn["record"]
        applied = [(seq, at, decode_event(data.encode())) for seq, at, data in turn["events"]]
        assert [seq for seq, _, _ in applied] == record.applied
        if instance is None:
            started = applied[0][2]
            assert isinstance(started, WorkflowStarted)
            instance = Instance(
                definition_of(getattr(recorded, saved["workflow"])),
                started,
                saved["started_at"],
                workflow_id="wf-1",
                task_queue="default",
                namespace="default",
                converter=DataConverter.default().payload_converter,
            )
        instance.replay(applied, record.commands)
    assert instance is not None and instance.close is not None
    instance.dispose()
