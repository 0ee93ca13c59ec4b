"""The public modules: every name that they promise is there."""

import pytest

import perdure.activity
import perdure.common
import perdure.converter
import perdure.exceptions
import perdure.workflow
from perdure.workflow import ActivityConfig


@pytest.mark.parametrize(
    "face",
    [
        perdure.activity,
        perdure.common,
        perdure.converter,
        perdure.exceptions,
        perdure.workflow,
    ],
    ids=lambda face: face.__name__,
)
def test_all_names_exist(face: object) -> None:
    names: list[str] = face.__all__  # pyright: ignore[reportAttributeAccessIssue]
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))
    assert all(hasattr(face, name) for name in names)


def test_the_options_of_activities() -> None:
    assert set(ActivityConfig.__annotations__) == {
        "activity_id",
        "cancellation_type",
        "heartbeat_timeout",
        "priority",
        "retry_policy",
        "schedule_to_close_timeout",
        "schedule_to_start_timeout",
        "start_to_close_timeout",
        "summary",
        "task_queue",
        "versioning_intent",
    }


def test_the_root_of_the_errors_goes_by_two_names() -> None:
    assert perdure.exceptions.TemporalError is perdure.exceptions.PerdureError
