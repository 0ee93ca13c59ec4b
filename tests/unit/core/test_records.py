"""Records, their trail, and records of other builds."""

import pytest

from perdure.core.commands import CancelTimer, CompleteWorkflow
from perdure.core.records import (
    JOINED,
    TRAIL,
    NewerRecord,
    Record,
    decode_record,
    encode_record,
    next_trail,
)


def test_the_close_is_the_last_command() -> None:
    record = Record(run="r", k=1, applied=[5], commands=[CancelTimer(n=1), CompleteWorkflow()])
    assert record.close == CompleteWorkflow()
    assert decode_record(encode_record(record)) == record
    assert Record(run="r", k=1, applied=[5], commands=[CancelTimer(n=1)]).close is None
    assert Record(run="r", k=1, applied=[5]).close is None
    assert not record.joined and Record(run="r", k=1, applied=[5], flags=JOINED).joined


def test_the_newest_record_leads_to_all_others() -> None:
    trails: dict[int, list[int]] = {0: []}
    for k in range(300):
        trails[k + 1] = next_trail(trails[k], k, seq=1000 + k)
        assert len(trails[k + 1]) <= TRAIL
    found: list[int] = []
    at = 300
    while at:
        found = trails[at] + found
        at -= len(trails[at])
    assert found == list(range(1000, 1300))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            b'{"run":"r","k":1,"applied":[],"format":2}',
            "record of format 2; this build reads up to 1",
        ),
        (
            b'{"run":"r","k":1,"applied":[],"commands":[{"type":"fly"}]}',
            "a record that this build cannot read: Invalid value 'fly'",
        ),
        (b"nothing", "a record that this build cannot read: "),
    ],
)
def test_records_of_newer_builds(data: bytes, text: str) -> None:
    with pytest.raises(NewerRecord) as error:
        decode_record(data)
    assert str(error.value).startswith(text)
