"""Activities: marking and registering functions, and what they may call while they run."""

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import activity
from perdure.activity import ActivityCancellationDetails
from perdure.authoring.activity_context import ActivityContext
from perdure.authoring.activity_decorators import activity_definition_of, activity_reference
from perdure.authoring.flags import Flag
from perdure.authoring.thread_cancellation import ThreadCancellation
from perdure.converter import DataConverter
from perdure.exceptions import CancelledError, NotInActivityError

START = datetime(2026, 1, 1, tzinfo=UTC)
INFO = activity.Info(
    activity_id="3",
    activity_type="charge",
    attempt=2,
    current_attempt_scheduled_time=START,
    heartbeat_details=("half",),
    idempotency_key="run-1:3",
    namespace="default",
    scheduled_time=START,
    started_time=START,
    task_queue="orders",
    workflow_id="order-1",
    workflow_namespace="default",
    workflow_run_id="run-1",
    workflow_type="Order",
)
ASKED = ActivityCancellationDetails(cancel_requested=True)


def context_of(**options: Any) -> ActivityContext:
    options.setdefault("on_heartbeat", lambda details: None)
    return ActivityContext(
        describe=lambda: INFO,
        converter=DataConverter.default().payload_converter,
        **options,
    )


@activity.defn
def plain(first: int, second: str = "x") -> bool:
    return True


@activity.defn(name="slow", no_thread_cancel_exception=True)
async def slow_one(*items: str) -> None: ...


class Shop:
    @activity.defn
    async def sell(self, item: str) -> str:
        return item

    @staticmethod
    @activity.defn
    def unlock() -> None: ...


@activity.defn
class Counter:
    async def __call__(self, step: int) -> int:
        return step


def logged[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


@activity.defn
@logged
def wrapped(number: int) -> str:
    return str(number)


def test_definitions() -> None:
    found = activity_definition_of(plain)
    assert (found.name, found.function, found.is_async) == ("plain", plain, False)
    assert (found.signature.types, found.signature.required) == ((int, str), 1)
    assert found.signature.returns is bool
    slow = activity_definition_of(slow_one)
    assert (slow.name, slow.is_async, slow.no_thread_cancel_exception) == ("slow", True, True)
    assert slow.signature.variadic
    assert activity_definition_of(wrapped).signature.types == (int,)


def test_bound_methods_and_callable_instances() -> None:
    shop = Shop()
    found = activity_definition_of(shop.sell)
    assert (found.name, found.signature.types, found.is_async) == ("sell", (str,), True)
    assert asyncio.run(found.function("tea")) == "tea"
    counter = activity_definition_of(Counter())
    assert (counter.name, counter.signature.types, counter.is_async) == ("Counter", (int,), True)


def test_references_from_workflows() -> None:
    assert activity_reference(Shop.sell).signature.types == (str,)
    assert activity_reference(Shop().sell) is activity_reference(Shop.sell)
    assert activity_reference(Counter).is_async
    assert activity_reference(plain) is activity_reference(plain)


class NotCallable:
    pass


def keyword_only(*, name: str) -> None: ...


def undecorated() -> None: ...


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: activity.defn("x"), TypeError, "goes on a function.*options go by keyword"),  # pyright: ignore[reportArgumentType]
        (lambda: activity.defn(NotCallable), TypeError, "NotCallable has no __call__ method"),
        (
            lambda: activity.defn(keyword_only),
            TypeError,
            "activity keyword_only has the keyword-only",
        ),
        (lambda: activity.defn(name="")(undecorated), ValueError, "name of activity undecorated"),
        (lambda: activity.defn(dynamic=True), TypeError, "dynamic"),  # pyright: ignore[reportCallIssue]
        (
            lambda: activity_definition_of(undecorated),
            TypeError,
            r"Activity undecorated missing attributes, was it decorated with @activity\.defn\?",
        ),
        (
            lambda: activity_definition_of(Counter),
            TypeError,
            "Counter is a class; register an inst",
        ),
        (
            lambda: activity_definition_of(Shop.sell),
            TypeError,
            r"Shop\.sell is a method without its",
        ),
    ],
)
def test_refusals(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_outside_an_activity() -> None:
    assert not activity.in_activity()
    with pytest.raises(NotInActivityError, match=r"activity\.info\(\) works only inside"):
        activity.info()
    with pytest.raises(NotInActivityError, match=r"activity\.heartbeat\(\) works only inside"):
        activity.heartbeat()


def test_info_and_converter() -> None:
    context = context_of()
    with context.activate():
        assert activity.in_activity()
        assert activity.info() is INFO
        assert activity.payload_converter() is context.converter
    assert not activity.in_activity()
    assert INFO.in_workflow
    assert replace(INFO, attempt=3).idempotency_key == INFO.idempotency_key


def test_heartbeats_hand_over_their_details() -> None:
    seen: list[tuple[Any, ...]] = []
    with context_of(on_heartbeat=seen.append).activate():
        activity.heartbeat()
        activity.heartbeat("page", 7)
    assert seen == [(), ("page", 7)]


def test_cancellation_is_seen_and_keeps_its_first_reason() -> None:
    context = context_of()
    with context.activate():
        assert not activity.is_cancelled()
        assert activity.cancellation_details() is None
        context.cancel(ASKED)
        context.cancel(ActivityCancellationDetails(timed_out=True))
        assert activity.is_cancelled()
        assert activity.cancellation_details() is ASKED
        activity.wait_for_cancelled_sync()


def test_waiting_for_cancellation_from_another_thread() -> None:
    async def main() -> None:
        context = context_of()
        with context.activate():
            waiting = asyncio.create_task(activity.wait_for_cancelled())
            await asyncio.sleep(0)
            await asyncio.to_thread(context.cancel, ASKED)
            await waiting

    asyncio.run(main())


def test_worker_shutdown_reaches_everyone_who_waits() -> None:
    shutdown = Flag()

    async def wait() -> bool:
        with context_of(worker_shutdown=shutdown).activate():
            await activity.wait_for_worker_shutdown()
            return activity.is_worker_shutdown()

    async def main() -> list[bool]:
        waiting = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        shutdown.set()
        return await asyncio.gather(*waiting, wait())

    assert asyncio.run(main()) == [True] * 4
    with context_of(worker_shutdown=shutdown).activate():
        activity.wait_for_worker_shutdown_sync(timedelta(seconds=60))


def test_waits_with_a_timeout_end() -> None:
    with context_of().activate():
        activity.wait_for_cancelled_sync(0)
        activity.wait_for_worker_shutdown_sync(timedelta(0))
        assert not activity.is_cancelled()
        with pytest.raises(ValueError, match="timeout cannot be negative"):
            activity.wait_for_cancelled_sync(-1)


def test_a_waiter_that_gave_up_is_forgotten() -> None:
    flag = Flag()

    async def give_up() -> None:
        waiting = asyncio.create_task(flag.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(give_up())
    flag.set()
    assert flag.is_set()


def in_thread(body: Callable[[], Any], context: ActivityContext) -> Any:
    def attempt() -> Any:
        with context.activate():
            return body()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, attempt).result(timeout=30)


def spin_until_cancelled(running: threading.Event) -> None:
    running.set()
    while True:
        pass


def test_a_thread_is_cancelled_by_an_exception() -> None:
    context = context_of(thread_cancellation=ThreadCancellation())
    running = threading.Event()

    def cancel() -> None:
        running.wait()
        context.cancel(ASKED)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(CancelledError):
        in_thread(lambda: spin_until_cancelled(running), context)
    canceller.join()


def test_a_shield_puts_the_exception_off() -> None:
    context = context_of(thread_cancellation=ThreadCancellation())
    steps: list[str] = []

    def body() -> None:
        with activity.shield_thread_cancel_exception():
            with activity.shield_thread_cancel_exception():
                context.cancel(ASKED)
                steps.append("inner")
            steps.append("outer")
        steps.append("never")

    with pytest.raises(CancelledError):
        in_thread(body, context)
    assert steps == ["inner", "outer"]


def test_a_shield_raises_over_an_error_of_its_block() -> None:
    context = context_of(thread_cancellation=ThreadCancellation())

    def body() -> None:
        try:
            with activity.shield_thread_cancel_exception():
                context.cancel(ASKED)
                raise ValueError
        except ValueError:
            pytest.fail("the cancellation was lost")

    with pytest.raises(CancelledError):
        in_thread(body, context)


def test_without_thread_cancellation_the_flag_is_all() -> None:
    context = context_of()

    def body() -> bool:
        with activity.shield_thread_cancel_exception():
            context.cancel(ASKED)
        return activity.is_cancelled()

    assert in_thread(body, context) is True


def test_a_cancellation_before_the_start_is_raised_at_once() -> None:
    context = context_of(thread_cancellation=ThreadCancellation())
    context.cancel(ASKED)
    with pytest.raises(CancelledError):
        in_thread(lambda: pytest.fail("ran"), context)


def test_a_cancellation_after_the_end_hits_nobody() -> None:
    context = context_of(thread_cancellation=ThreadCancellation())

    def use_thread_on() -> int:
        with context.activate():
            pass
        context.cancel(ASKED)
        return sum(range(10_000))

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(use_thread_on).result(timeout=30) == 49_995_000


def test_log_records_say_where_they_come_from(caplog: pytest.LogCaptureFixture) -> None:
    with context_of().activate():
        activity.logger.warning("paid %s", "twice")
    activity.logger.warning("outside")
    inside, outside = caplog.records
    assert inside.getMessage().startswith("paid twice ({'activity_id': '3'")
    assert inside.__dict__["temporal_activity"]["attempt"] == 2
    assert (inside.__dict__["workflow_id"], inside.__dict__["run_id"]) == ("order-1", "run-1")
    assert outside.getMessage() == "outside"


def test_flags_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger = activity.LoggerAdapter(logging.getLogger("perdure.test"))
    logger.activity_info_on_message = logger.activity_info_on_extra = False
    logger.full_activity_info_on_extra = True
    with context_of().activate():
        logger.warning("bare")
    assert caplog.messages == ["bare"]
    assert caplog.records[0].__dict__["activity_info"] is INFO
