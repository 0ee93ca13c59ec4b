"""execute_activity and start_activity: what they ask of the host, and what they refuse."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, assert_type

import pytest
from support.recording_host import RecordingHost

from perdure import activity, workflow
from perdure.core.durations import SECOND
from perdure.exceptions import NotInWorkflowError

SOON = timedelta(seconds=5)


@activity.defn
async def double(number: int) -> int:
    return number * 2


@activity.defn(name="shout")
def shout_it(text: str) -> str:
    return text.upper()


class Shop:
    @activity.defn
    async def sell(self, item: str) -> list[str]:
        return [item]


@activity.defn
class Add:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __call__(self, number: int) -> int:
        return number + self.amount


async def undecorated(number: int) -> int:
    return number


def ask(host: RecordingHost, *args: Any, **options: Any) -> Any:
    async def main() -> Any:
        return await workflow.execute_activity(*args, **options)

    return host.run(main())


def test_a_request_carries_every_option(host: RecordingHost) -> None:
    policy = workflow.RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=4)
    ask(
        host,
        double,
        3,
        task_queue="fast",
        schedule_to_close_timeout=timedelta(seconds=60),
        schedule_to_start_timeout=timedelta(seconds=10),
        start_to_close_timeout=timedelta(seconds=20),
        heartbeat_timeout=1.5,
        retry_policy=policy,
        cancellation_type=workflow.ActivityCancellationType.ABANDON,
        activity_id="a-1",
        summary="twice",
    )
    (request,) = host.requests
    assert request.name == "double"
    assert host.args == [(3,)]
    assert request.definition is not None
    assert request.definition.is_async
    assert request.result_type is int
    assert (request.task_queue, request.activity_id, request.summary) == ("fast", "a-1", "twice")
    assert request.schedule_to_close == 60 * SECOND
    assert request.schedule_to_start == 10 * SECOND
    assert request.start_to_close == 20 * SECOND
    assert request.heartbeat == 3 * SECOND // 2
    assert request.retry == policy.to_rule()
    assert request.cancellation is workflow.ActivityCancellationType.ABANDON


def test_defaults(host: RecordingHost) -> None:
    ask(host, shout_it, "a", start_to_close_timeout=SOON)
    (request,) = host.requests
    assert request.name == "shout"
    assert (request.task_queue, request.activity_id) == (None, None)
    assert (request.schedule_to_close, request.heartbeat) == (0, 0)
    assert request.retry.maximum_attempts == 0
    assert request.cancellation is workflow.ActivityCancellationType.TRY_CANCEL


def test_by_name(host: RecordingHost) -> None:
    ask(host, "double", 1, start_to_close_timeout=SOON, result_type=int)
    ask(host, "double", start_to_close_timeout=SOON)
    first, second = host.requests
    assert (first.definition, first.result_type) == (None, int)
    assert second.result_type is Any
    assert host.args == [(1,), ()]


def test_methods_and_callable_classes(host: RecordingHost) -> None:
    async def main() -> None:
        await workflow.execute_activity_method(Shop.sell, "tea", start_to_close_timeout=SOON)
        await workflow.execute_activity(Shop().sell, "tea", start_to_close_timeout=SOON)
        await workflow.execute_activity_class(Add, 1, start_to_close_timeout=SOON)
        await workflow.execute_activity(Add(2), 1, start_to_close_timeout=SOON)

    host.run(main())
    assert [request.name for request in host.requests] == ["sell", "sell", "Add", "Add"]
    signatures = [r.definition.signature.types for r in host.requests if r.definition]
    assert signatures == [(str,), (str,), (int,), (int,)]
    assert [r.result_type for r in host.requests] == [list[str], list[str], int, int]


def test_none_is_an_argument(host: RecordingHost) -> None:
    ask(host, double, None, start_to_close_timeout=SOON)
    ask(host, double, args=[None, 2], start_to_close_timeout=SOON)
    assert host.args == [(None,), (None, 2)]


def test_start_is_sync_and_execute_waits_to_be_awaited(host: RecordingHost) -> None:
    host.results = {"double": 8}

    async def main() -> tuple[int, int, int]:
        task = workflow.start_activity(double, 4, start_to_close_timeout=SOON)
        assert isinstance(task, asyncio.Task)
        started = len(host.requests)
        later = workflow.execute_activity(double, 4, start_to_close_timeout=SOON)
        unstarted = len(host.requests)
        assert await later == await task
        return started, unstarted, len(host.requests)

    assert host.run(main()) == (1, 1, 2)


def test_cancelling_the_wait_cancels_the_task(host: RecordingHost) -> None:
    async def main() -> bool:
        task = workflow.start_activity(double, 4, start_to_close_timeout=SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert host.run(main())


@pytest.mark.parametrize(
    ("args", "options", "error", "text"),
    [
        (
            (double, 1),
            {},
            ValueError,
            "'double' needs start_to_close_timeout .* or schedule_to_close",
        ),
        ((double, 1), {"heartbeat_timeout": SOON}, ValueError, "needs start_to_close_timeout"),
        ((double, 1), {"args": [1]}, ValueError, "Cannot have arg and args"),
        ((double,), {"args": "ab"}, TypeError, "args must be a list or tuple.*not str"),
        ((double,), {"args": iter([1])}, TypeError, "args must be a list or tuple"),
        (
            (undecorated, 1),
            {},
            TypeError,
            r"Activity undecorated missing attributes, was it decorated",
        ),
        ((Shop, 1), {}, TypeError, "Activity Shop missing attributes"),
        ((7,), {}, TypeError, "missing attributes"),
        (("", 1), {}, ValueError, "activity cannot be empty"),
        (
            (double, 1),
            {"start_to_close_timeout": -1},
            ValueError,
            "start_to_close_timeout cannot be neg",
        ),
        (
            (double, 1),
            {"start_to_close_timeout": timedelta(0)},
            ValueError,
            "start_to_close_timeout must be longer than zero",
        ),
        (
            (double, 1),
            {"start_to_close_timeout": SOON, "heartbeat_timeout": "5s"},
            TypeError,
            "heartbeat_timeout must be a timedelta",
        ),
        (
            (double, 1),
            {"start_to_close_timeout": SOON, "schedule_to_start_timeout": float("nan")},
            ValueError,
            "schedule_to_start_timeout must be a finite",
        ),
        (
            (double, 1),
            {"start_to_close_timeout": SOON, "retry_policy": 3},
            TypeError,
            "RetryPolicy",
        ),
        ((double, 1), {"start_to_close_timeout": SOON, "task_queue": ""}, ValueError, "task_queue"),
        (
            (double, 1),
            {"start_to_close_timeout": SOON, "activity_id": ""},
            ValueError,
            "activity_id",
        ),
        ((double, 1), {"timeout": SOON}, TypeError, "unknown activity option timeout; there are"),
    ],
)
def test_refusals(
    host: RecordingHost, args: Any, options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ask(host, *args, **options)
    assert host.requests == []


def test_the_same_call_asks_for_the_same(host: RecordingHost) -> None:
    policy = workflow.RetryPolicy(maximum_attempts=2)
    for attempts in (2, 2, 3):
        policy.maximum_attempts = attempts
        ask(host, double, attempts, start_to_close_timeout=SOON, retry_policy=policy)
    first, second, third = host.requests
    assert first is second
    assert (second.retry.maximum_attempts, third.retry.maximum_attempts) == (2, 3)


def test_equal_options_of_another_type_are_looked_at_anew(host: RecordingHost) -> None:
    ask(host, double, 1, start_to_close_timeout=1)
    with pytest.raises(TypeError, match="start_to_close_timeout must be a timedelta or seconds"):
        ask(host, double, 1, start_to_close_timeout=True)


def test_options_that_do_not_hash(host: RecordingHost) -> None:
    ask(host, double, 1, start_to_close_timeout=SOON, versioning_intent=["any"])
    assert host.requests[0].start_to_close == 5 * SECOND


def test_a_call_does_not_keep_a_methods_object_alive(host: RecordingHost) -> None:
    shop, add = Shop(), Add(1)
    ask(host, shop.sell, "tea", start_to_close_timeout=SOON)
    ask(host, add, 1, start_to_close_timeout=SOON)
    objects = [weakref.ref(shop), weakref.ref(add)]
    host.requests.clear()
    del shop, add
    gc.collect()
    assert [reference() for reference in objects] == [None, None]


def test_outside_a_workflow() -> None:
    with pytest.raises(NotInWorkflowError, match=r"workflow\.start_activity\(\) works only inside"):
        workflow.start_activity(double, 1, start_to_close_timeout=SOON)


def test_results_have_the_types_of_the_activity(host: RecordingHost) -> None:
    """Checked by pyright; runs too, so that it stays code that works."""

    async def main() -> None:
        options = workflow.ActivityConfig(start_to_close_timeout=SOON)
        assert_type(await workflow.execute_activity(double, 1, **options), int)
        assert_type(await workflow.execute_activity(shout_it, "a", **options), str)
        assert_type(await workflow.execute_activity_method(Shop.sell, "a", **options), list[str])
        assert_type(await workflow.execute_activity("x", result_type=int, **options), int)
        assert_type(await workflow.execute_activity("x", **options), Any)
        assert_type(workflow.start_activity(shout_it, "a", **options), asyncio.Task[str])
        pending: Awaitable[int] = workflow.start_activity(double, 1, **options)
        await pending

    host.run(main())
