"""The errors that users see: codes, causes and texts."""

import inspect

import pytest

from perdure.core import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.PerdureError)
]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes) == 19
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ApplicationError("m"), "m"),
        (errors.ApplicationError("m", type="T"), "T: m"),
        (errors.CancelledError(), "Cancelled"),
        (errors.TerminatedError(), "Workflow terminated"),
        (errors.WorkflowFailureError(cause=ValueError("why")), "Workflow execution failed: why"),
        (errors.WorkflowNotFoundError("w"), "workflow execution not found: id 'w'"),
        (
            errors.WorkflowAlreadyStartedError("w", "T", run_id="r"),
            "Workflow execution already started: id 'w', run r. Use another id, wait for that run, "
            "or choose an id_conflict_policy/id_reuse_policy.",
        ),
        (errors.InvalidInputError("bad", field="id"), "bad"),
    ],
)
def test_texts(error: errors.PerdureError, text: str) -> None:
    assert str(error) == text


def test_fields() -> None:
    cause = ValueError("why")
    assert errors.WorkflowFailureError(cause=cause).cause is cause
    assert errors.PerdureError().cause is None
    missing = errors.WorkflowNotFoundError("w", "closed")
    assert (missing.workflow_id, missing.reason) == ("w", "closed")
    bad = errors.InvalidInputError("bad", field="id")
    assert bad.field == "id" and isinstance(bad, ValueError)
    blocked = errors.NondeterminismError("text", event=3, expected="a", actual="b")
    assert (blocked.event, blocked.expected, blocked.actual) == (3, "a", "b")
