"""``docs/wire-format.md`` says what is on the wire: every struct, every field, type and default."""

import re
from pathlib import Path

import pytest
from msgspec import Raw
from support.wire_schema import Row, rows, sections

from perdure.authoring.converter import DefaultPayloadConverter
from perdure.core.events import (
    ActivityCompleted,
    ActivityStarted,
    Event,
    TimerFired,
    WorkflowSignaled,
    WorkflowStarted,
    identity,
)
from perdure.engine.payloads import INLINE_LIMIT, is_ref

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "wire-format.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.*) \|$", re.M)


def written(heading: str) -> list[Row]:
    """The rows of a heading's table."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert found is not None, f"the page has no section {heading!r}"
    return [(name, kind, default) for name, kind, default, _ in _ROW.findall(found[1])]


@pytest.mark.parametrize("heading", [heading for heading, _ in sections()])
def test_every_field_is_written_down(heading: str) -> None:
    kind = dict(sections())[heading]
    assert written(heading) == rows(kind), f"write it down in docs/wire-format.md: {heading}"


def test_nothing_is_written_down_that_is_not_there() -> None:
    assert re.findall(r"^### (.+)$", PAGE, re.M) == [heading for heading, _ in sections()]


def test_every_field_says_what_it_means() -> None:
    bare = [name for name, _, _, meaning in _ROW.findall(PAGE) if not meaning and name != "ok"]
    assert bare == []


def test_payloads_look_as_written() -> None:
    converter = DefaultPayloadConverter()
    assert f"| `{bytes(converter.to_payload({'total': 3})).decode()}` |" in PAGE
    assert f"`{bytes(converter.to_payload(bytes([0, 1]))).decode()}`" in PAGE
    assert is_ref(Raw(b'{"$payload":{"encoding":"blob/ref","metadata":{"key":"k","size":200000}}}'))
    assert f"a payload above {INLINE_LIMIT // 1024} KiB" in PAGE
    forged = bytes(converter.to_payload({"$payload": 1}))
    assert forged.startswith(b'{"$payload":{"encoding":"json/plain","data":"')


@pytest.mark.parametrize(
    ("event", "pattern"),
    [
        (WorkflowStarted(run="R", workflow_type="T"), "start:<run>"),
        (WorkflowSignaled(eid="E", name="s"), "ext:<eid>"),
        (ActivityStarted(run="R", n=7, attempt=2), "<run>:<n>:<attempt>:started"),
        (ActivityCompleted(run="R", n=7, attempt=2, activity_type="a"), "<run>:<n>:outcome"),
        (TimerFired(run="R", n=7, due=1), "<run>:<n>:fired"),
    ],
)
def test_identities_are_as_written(event: Event, pattern: str) -> None:
    filled = pattern.replace("<run>", "R").replace("<n>", "7").replace("<attempt>", "2")
    assert identity(event) == filled.replace("<eid>", "E")
    assert f"| `{pattern}` |" in PAGE
