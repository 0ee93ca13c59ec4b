"""What becomes of an attempt stands in the log before its task leaves the queue."""

import asyncio
from typing import Any

import msgspec
import pytest
from scenarios.activities.world import CONVERTER, ONCE, RUN, World, play

from perdure import activity
from perdure.core.errors import RetryState
from perdure.core.events import ActivityCompleted, ActivityFailed
from perdure.core.retry import RetryRule
from perdure.engine.payloads import PayloadStore, is_ref
from perdure.exceptions import ApplicationError


@activity.defn
async def greet(name: str) -> str:
    await asyncio.sleep(1)
    return f"hello {name}"


@activity.defn
def greet_in_thread(name: str) -> str:
    about = activity.info()
    return f"hello {name} of {about.workflow_id}, attempt {about.attempt}"


@activity.defn
async def large(size: int) -> str:
    return "x" * size


@activity.defn
async def echo(text: str) -> int:
    return len(text)


def failed(event: object) -> ActivityFailed:
    assert isinstance(event, ActivityFailed), event
    return event


def test_an_async_activity_completes() -> None:
    async def story(world: World) -> None:
        task = await world.offer("greet", "Ada")
        await world.worker(greet)
        (event,) = await world.outcome()
        assert event == ActivityCompleted(
            run=RUN,
            n=1,
            attempt=1,
            activity_type="greet",
            result=CONVERTER.to_payload("hello Ada"),
            identity="worker-1",
        )
        await asyncio.sleep(0.1)
        assert await world.queue_is_empty(task)

    play(story)


def test_a_sync_activity_completes_and_knows_itself() -> None:
    async def story(world: World) -> None:
        await world.offer("greet_in_thread", "Ada")
        await world.worker(greet_in_thread)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert CONVERTER.from_payload(event.result) == "hello Ada of order-1, attempt 1"

    play(story)


def test_a_large_result_lies_beside_the_log() -> None:
    async def story(world: World) -> None:
        await world.offer("large", 2_000_000)
        await world.worker(large)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert is_ref(event.result)
        whole = await PayloadStore(world.backend.blobs).restore_event(event, owner="order-1")
        assert CONVERTER.from_payload(whole.result) == "x" * 2_000_000

    play(story)


def test_a_result_above_the_limit_becomes_a_small_failure() -> None:
    async def story(world: World) -> None:
        payloads = PayloadStore(world.backend.blobs, max_payload=300_000)
        await world.offer("large", 400_000)
        await world.worker(large, payloads=payloads)
        event = failed((await world.outcome())[0])
        assert event.retry_state == RetryState.NON_RETRYABLE_FAILURE
        assert event.failure.kind == "server"
        assert "400002 bytes is above the limit of 300000" in event.failure.message

    play(story)


def test_large_arguments_are_fetched() -> None:
    async def story(world: World) -> None:
        task = world.task("echo", "y" * 300_000)
        payloads = PayloadStore(world.backend.blobs)
        moved = await payloads.offload_struct(task, f"order-1/{RUN}/args")
        assert is_ref(moved.args[0])
        await world.offer("echo", args=moved.args)
        await world.worker(echo)
        (event,) = await world.outcome()
        assert isinstance(event, ActivityCompleted)
        assert CONVERTER.from_payload(event.result) == 300_000

    play(story)


def test_arguments_of_another_workflow_are_refused() -> None:
    async def story(world: World) -> None:
        payloads = PayloadStore(world.backend.blobs)
        secret = await payloads.offload([CONVERTER.to_payload("z" * 300_000)], "order-2/run-9/args")
        await world.offer("echo", args=secret)
        await world.worker(echo)
        event = failed((await world.outcome())[0])
        assert event.failure.non_retryable
        assert "does not belong to 'order-1'" in event.failure.message

    play(story)


def test_an_argument_that_does_not_fit_is_named_and_not_retried() -> None:
    async def story(world: World) -> None:
        await world.offer("echo", {"not": "text"})
        await world.worker(echo)
        event = failed((await world.outcome())[0])
        assert event.attempt == 1
        assert event.retry_state == RetryState.NON_RETRYABLE_FAILURE
        assert "activity 'echo': argument 1 does not fit" in event.failure.message

    play(story)


def test_a_result_that_cannot_be_encoded_fails_without_retry() -> None:
    @activity.defn
    async def returns_a_lock() -> object:
        return asyncio.Lock()

    async def story(world: World) -> None:
        await world.offer("returns_a_lock")
        await world.worker(returns_a_lock)
        event = failed((await world.outcome())[0])
        assert event.retry_state == RetryState.NON_RETRYABLE_FAILURE
        assert event.failure.type == "SerializationError"

    play(story)


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(3), StopIteration(1), GeneratorExit(), RecursionError()],
)
@pytest.mark.parametrize("is_async", [True, False])
def test_whatever_code_raises_fails_only_its_attempt(error: BaseException, is_async: bool) -> None:
    @activity.defn(name="rude")
    async def rude() -> None:
        raise error

    @activity.defn(name="rude")
    def rude_in_thread() -> None:
        raise error

    async def story(world: World) -> None:
        await world.offer("rude", retry=ONCE)
        await world.offer("greet", "Ada", n=2)
        await world.worker(rude if is_async else rude_in_thread, greet)
        events = await world.outcome(count=2)
        assert {type(event) for event in events} == {ActivityFailed, ActivityCompleted}

    play(story)


def test_a_final_failure_leaves_a_dead_letter() -> None:
    @activity.defn
    async def broken(order: str) -> None:
        raise ApplicationError("no such order", type="Unknown")

    async def story(world: World) -> None:
        await world.offer("broken", "a-17", retry=RetryRule(maximum_attempts=2))
        await world.worker(broken)
        event = failed((await world.outcome())[0])
        assert event.retry_state == RetryState.MAXIMUM_ATTEMPTS_REACHED
        await asyncio.sleep(1)
        (letter,) = await world.letters()
        assert letter["workflow_id"] == "order-1"
        assert letter["run"] == RUN
        assert letter["activity_type"] == "broken"
        assert letter["args"] == ["a-17"]
        assert letter["attempts"] == 2
        assert letter["task_queue"] == "work"
        assert letter["failure"]["message"] == "no such order"
        assert letter["failure"]["type"] == "Unknown"

    play(story)


def test_a_task_that_nobody_can_read_is_buried() -> None:
    async def story(world: World) -> None:
        task = world.task("greet")
        await world.backend.tasks.offer(world.key(task), b"\xff not json")
        await world.worker(greet)
        await asyncio.sleep(1)
        (letter,) = await world.letters()
        assert "not an activity task" in letter["reason"]
        assert await world.queue_is_empty(task)
        assert await world.events() == []

    play(story)


def test_an_unknown_activity_is_an_ordinary_failure_that_names_the_known_ones() -> None:
    async def story(world: World) -> None:
        task = await world.offer("missing")
        await world.worker(greet, echo)
        await asyncio.sleep(0.5)
        current = await world.current(task)
        assert current.attempt == 2
        assert current.last_failure is not None
        assert current.last_failure.type == "NotFoundError"
        assert "Registered: echo, greet" in current.last_failure.message

    play(story)


def test_no_more_run_at_once_than_allowed() -> None:
    running: list[int] = []
    most: list[int] = []

    @activity.defn
    async def busy(number: int) -> int:
        running.append(number)
        most.append(len(running))
        await asyncio.sleep(2)
        running.remove(number)
        return number

    async def story(world: World) -> None:
        for number in range(1, 11):
            await world.offer("busy", number, n=number)
        await world.worker(busy, max_concurrent=3)
        events = await world.outcome(count=10)
        assert max(most) == 3
        assert {event.n for event in events if isinstance(event, ActivityCompleted)} == {
            *range(1, 11)
        }

    play(story)


def test_a_full_store_delays_the_outcome_and_loses_nothing() -> None:
    async def story(world: World) -> None:
        task = await world.offer("greet", "Ada")
        await world.worker(greet)
        world.store.full = True
        await asyncio.sleep(25)
        assert await world.events() == []
        assert not await world.queue_is_empty(task)
        world.store.full = False
        assert len(await world.outcome(within=10)) == 1

    play(story)


def test_attempts_are_reported_to_the_hook() -> None:
    reports: list[Any] = []

    async def story(world: World) -> None:
        await world.offer("greet", "Ada")
        await world.worker(greet, on_attempt=reports.append)
        await world.outcome()
        (report,) = reports
        assert (report.activity_type, report.attempt, report.outcome) == ("greet", 1, "completed")
        assert report.duration == 1_000_000_000

    play(story)


def test_a_worker_is_a_member_of_its_queue_until_it_leaves() -> None:
    async def story(world: World) -> None:
        worker = await world.worker(greet)
        await world.offer("greet", "Ada")
        await asyncio.sleep(0.5)
        group = ("worker", "work")
        said = msgspec.json.decode((await world.backend.members.list(group))["worker-1"])
        assert said["activities"] == ["greet"]
        await asyncio.sleep(60)
        assert "worker-1" in await world.backend.members.list(group)
        await worker.shutdown()
        assert await world.backend.members.list(group) == {}

    play(story)
