"""The functions that workflow code calls: what they hand to the host and back."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from support.recording_host import RecordingHost

from perdure import workflow
from perdure.core.durations import SECOND
from perdure.exceptions import NotInWorkflowError


def inside[T](host: RecordingHost, call: Callable[[], T]) -> T:
    async def main() -> T:
        return call()

    return host.run(main())


def test_what_the_host_knows(host: RecordingHost) -> None:
    host.instance = object()
    host.cancellation_reason = "enough"
    host.history_length = 12
    host.is_read_only = True
    assert inside(host, workflow.info) is host.info
    assert inside(host, workflow.instance) is host.instance
    assert inside(host, workflow.cancellation_reason) == "enough"
    assert inside(host, workflow.get_current_history_length) == 12
    assert inside(host, workflow.payload_converter) is host.converter
    assert inside(host, workflow.unsafe.is_read_only)
    assert not inside(host, workflow.unsafe.is_replaying)
    assert inside(host, workflow.in_workflow)


def test_time(host: RecordingHost) -> None:
    assert inside(host, workflow.now) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert inside(host, workflow.time) == 1_700_000_000.0
    assert inside(host, workflow.time_ns) == 1_700_000_000 * SECOND


def test_random_values_come_from_the_run(host: RecordingHost) -> None:
    again = RecordingHost(host.converter)
    first = inside(host, lambda: (workflow.uuid4(), workflow.random().random(), workflow.uuid4()))
    second = inside(again, lambda: (workflow.uuid4(), workflow.random().random(), workflow.uuid4()))
    assert first == second
    assert first[0] != first[2]
    assert isinstance(first[0], UUID)
    assert first[0].version == 4


def test_sleep(host: RecordingHost) -> None:
    async def main() -> None:
        await workflow.sleep(1.5, summary="a while")
        await workflow.sleep(timedelta(minutes=1))
        await workflow.async_sleep(0)

    host.run(main())
    assert host.sleeps == [(3 * SECOND // 2, "a while"), (60 * SECOND, ""), (0, "")]


def test_wait_condition(host: RecordingHost) -> None:
    async def main() -> list[bool]:
        return [
            await workflow.wait_condition(lambda: True),
            await workflow.wait_condition(lambda: False, timeout=2, timeout_summary="two"),
            await workflow.wait_condition(lambda: False, timeout=timedelta(0)),
            await workflow.wait_condition(lambda: False, timeout=timedelta(seconds=-1)),
        ]

    assert host.run(main()) == [True, False, False, False]
    assert host.waits == [(None, ""), (2 * SECOND, "two"), (0, ""), (0, "")]


@pytest.mark.parametrize(
    ("wait", "error", "text"),
    [
        (
            lambda: workflow.sleep(cast("Any", "1")),
            TypeError,
            "duration must be a timedelta or seconds",
        ),
        (lambda: workflow.sleep(float("inf")), ValueError, "duration must be a finite"),
        (
            lambda: workflow.wait_condition(cast("Any", asyncio.sleep)),
            TypeError,
            "a plain function",
        ),
        (lambda: workflow.wait_condition(cast("Any", True)), TypeError, "a plain function"),
    ],
)
def test_bad_durations(
    host: RecordingHost, wait: Callable[[], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        host.run(wait())


@pytest.mark.parametrize(
    "call",
    [
        workflow.info,
        workflow.instance,
        workflow.now,
        workflow.time,
        workflow.time_ns,
        workflow.random,
        workflow.uuid4,
        workflow.cancellation_reason,
        workflow.get_current_history_length,
        workflow.payload_converter,
        workflow.unsafe.is_replaying,
        workflow.unsafe.is_read_only,
    ],
)
def test_outside_a_workflow(call: Callable[[], Any]) -> None:
    name = call.__name__
    with pytest.raises(
        NotInWorkflowError, match=rf"{name}\(\) works only inside a running workflow"
    ):
        call()
    assert not workflow.in_workflow()


def test_the_sandbox_is_a_formality() -> None:
    with workflow.unsafe.imports_passed_through(), workflow.unsafe.sandbox_unrestricted():
        assert not workflow.unsafe.in_sandbox()


def test_log_records_say_where_they_come_from(
    host: RecordingHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    inside(host, lambda: workflow.logger.info("at %d%%", 5, extra={"step": 1}))
    (record,) = caplog.records
    assert record.getMessage().startswith("at 5% ({'attempt': 1, 'namespace': 'default'")
    assert "'workflow_id': 'order-1'" in record.getMessage()
    assert record.__dict__["workflow_id"] == "order-1"
    assert record.__dict__["run_id"] == "run-1"
    assert record.__dict__["temporal_workflow"]["workflow_type"] == "Order"
    assert record.__dict__["step"] == 1
    assert record.filename == "test_workflow_functions.py"


def test_percent_signs_in_ids_and_messages(
    host: RecordingHost, caplog: pytest.LogCaptureFixture
) -> None:
    object.__setattr__(host.info, "workflow_id", "100%d")
    inside(host, lambda: workflow.logger.warning("%s done", "it"))
    inside(host, lambda: workflow.logger.warning("50%"))
    assert caplog.messages[0].startswith("it done (")
    assert "'100%d'" in caplog.messages[0]
    assert caplog.messages[1].startswith("50% (")


def test_the_log_is_silent_on_replay(host: RecordingHost, caplog: pytest.LogCaptureFixture) -> None:
    host.is_replaying = True
    inside(host, lambda: workflow.logger.error("again"))
    assert caplog.records == []
    workflow.logger.log_during_replay = True
    try:
        inside(host, lambda: workflow.logger.error("again"))
    finally:
        workflow.logger.log_during_replay = False
    assert len(caplog.records) == 1


def test_flags_of_the_logger(host: RecordingHost, caplog: pytest.LogCaptureFixture) -> None:
    logger = workflow.LoggerAdapter(logging.getLogger("perdure.test"))
    logger.workflow_info_on_message = False
    logger.workflow_info_on_extra = False
    logger.full_workflow_info_on_extra = True
    inside(host, lambda: logger.warning("bare"))
    assert caplog.messages == ["bare"]
    assert caplog.records[0].__dict__["workflow_info"] is host.info
    assert not hasattr(caplog.records[0], "workflow_id")
    assert logger.base_logger.name == "perdure.test"


def test_the_logger_works_outside(caplog: pytest.LogCaptureFixture) -> None:
    workflow.logger.warning("hello %s", "you")
    assert caplog.messages == ["hello you"]
