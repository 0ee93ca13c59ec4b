"""Entries of STATE."""

import msgspec
import pytest

from perdure.core.state import StateEntry, Status, decode_state, encode_state


@pytest.mark.parametrize("status", list(Status))
def test_only_a_running_run_is_open(status: Status) -> None:
    entry = StateEntry(
        workflow_id="w", run="r", workflow_type="T", task_queue="q", status=status, k=4
    )
    assert entry.is_open is (status is Status.RUNNING)
    assert decode_state(encode_state(entry)) == entry


def test_a_result_of_null_is_a_result() -> None:
    entry = StateEntry(
        workflow_id="w", run="r", workflow_type="T", task_queue="q", result=msgspec.Raw(b"null")
    )
    again = decode_state(encode_state(entry))
    assert again.result is not None and bytes(again.result) == b"null"
    assert again.starting is None
