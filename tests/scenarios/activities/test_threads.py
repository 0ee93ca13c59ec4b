"""Functions that block run in real threads, on a real loop: cancelled, abandoned, never in the way."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scenarios.activities.world import ADDRESS, ONCE, RUN, World

from perdure import activity
from perdure.adapters.memory.backend import MemoryStore
from perdure.core.durations import MILLISECOND
from perdure.core.errors import TimeoutType
from perdure.core.events import ActivityCanceled, ActivityCompleted, ActivityFailed
from perdure.core.state import StateEntry, encode_state
from perdure.engine.activities.threads import DaemonThreads
from perdure.exceptions import CancelledError


def play_in_real_time(
    story: Callable[[World], Coroutine[Any, Any, None]],
) -> None:
    async def tell() -> None:
        world = World(MemoryStore())
        entry = StateEntry(
            workflow_id=ADDRESS.workflow_id, run=RUN, workflow_type="Order", task_queue="flows"
        )
        await world.backend.state.create(ADDRESS.workflow_id, encode_state(entry))
        try:
            await story(world)
        finally:
            await world.end()

    asyncio.run(tell())


def spin_until(done: threading.Event) -> None:
    """Python code without a long system call: an exception can reach it."""
    while not done.wait(0.001):
        pass


def test_a_cancellation_is_raised_in_the_thread() -> None:
    begun = threading.Event()

    @activity.defn
    def spins() -> None:
        begun.set()
        spin_until(threading.Event())

    async def story(world: World) -> None:
        await world.worker(spins)
        task = await world.offer("spins")
        await asyncio.to_thread(begun.wait)
        await world.cancel(task)
        (event,) = await world.outcome(within=30)
        assert isinstance(event, ActivityCanceled)

    play_in_real_time(story)


def test_a_thread_may_ask_instead() -> None:
    begun = threading.Event()

    @activity.defn(no_thread_cancel_exception=True)
    def asks() -> str:
        begun.set()
        activity.wait_for_cancelled_sync()
        return "stopped in order"

    async def story(world: World) -> None:
        await world.worker(asks)
        task = await world.offer("asks")
        await asyncio.to_thread(begun.wait)
        await world.cancel(task)
        (event,) = await world.outcome(within=30)
        assert isinstance(event, ActivityCompleted)

    play_in_real_time(story)


def test_a_shielded_part_is_not_interrupted() -> None:
    begun = threading.Event()
    parts: list[str] = []

    @activity.defn
    def shielded() -> None:
        with activity.shield_thread_cancel_exception():
            begun.set()
            activity.wait_for_cancelled_sync()
            parts.append("saved")
        parts.append("never")

    async def story(world: World) -> None:
        await world.worker(shielded)
        task = await world.offer("shielded")
        await asyncio.to_thread(begun.wait)
        await world.cancel(task)
        (event,) = await world.outcome(within=30)
        assert isinstance(event, ActivityCanceled)
        assert parts == ["saved"]

    play_in_real_time(story)


def test_a_thread_that_cannot_be_stopped_is_abandoned() -> None:
    release = threading.Event()

    @activity.defn(no_thread_cancel_exception=True)
    def deaf() -> None:
        release.wait()

    @activity.defn
    def quick() -> str:
        return "done"

    async def story(world: World) -> None:
        worker = await world.worker(deaf, quick, max_concurrent=1)
        await world.offer("deaf", start_to_close=50 * MILLISECOND, retry=ONCE)
        (event,) = await world.outcome(within=30)
        assert isinstance(event, ActivityFailed)
        assert event.failure.timeout == TimeoutType.START_TO_CLOSE
        assert worker.abandoned == 1
        await world.offer("quick", n=2)
        events = await world.outcome(count=2, within=30)
        assert isinstance(events[1], ActivityCompleted)
        release.set()

    play_in_real_time(story)


def test_heartbeats_come_from_threads() -> None:
    @activity.defn
    def counts() -> int:
        for number in range(100):
            activity.heartbeat(number)
        raise ValueError("stopped half way")

    async def story(world: World) -> None:
        await world.worker(counts)
        task = await world.offer("counts")
        current = await world.attempt(task, 2)
        assert [bytes(detail) for detail in current.heartbeat_details] == [b"99"]

    play_in_real_time(story)


def test_a_pool_of_ones_own() -> None:
    names: set[str] = set()

    @activity.defn
    def note() -> None:
        names.add(threading.current_thread().name)

    async def story(world: World) -> None:
        with ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
            worker = await world.worker(note, executor=pool)
            for number in range(1, 21):
                await world.offer("note", n=number)
            await world.outcome(count=20, within=30)
            await worker.shutdown()
        assert {name.partition("_")[0] for name in names} == {"mine"}

    play_in_real_time(story)


def test_daemon_threads_are_reused_and_end() -> None:
    threads = DaemonThreads("test")
    idents = {threads.submit(threading.get_ident).result() for _ in range(50)}
    assert len(idents) < 50
    gate = threading.Barrier(20)
    at_once = [threads.submit(gate.wait) for _ in range(20)]
    assert sorted(future.result() for future in at_once) == [*range(20)]
    failing = threads.submit(lambda: 1 // 0)
    assert isinstance(failing.exception(), ZeroDivisionError)
    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.submit(print)


def test_no_cancellation_leaks_into_the_next_call() -> None:
    """A cancellation that arrives as its function ends must not hit what the thread does next."""
    leaked: list[str] = []

    @activity.defn
    def brief() -> None:
        pass

    @activity.defn
    def careful() -> None:
        try:
            for _ in range(200):
                pass
        except CancelledError:
            leaked.append("leaked")

    async def story(world: World) -> None:
        with ThreadPoolExecutor(1) as pool:
            worker = await world.worker(brief, careful, executor=pool)
            for number in range(1, 201):
                await world.offer("brief" if number % 2 else "careful", n=number)
            cancelled: set[int] = set()
            while len(await world.events()) < 200:
                for (_, n), attempt in list(worker._running.items()):
                    if n % 2 and n not in cancelled:
                        cancelled.add(n)
                        attempt.request_cancel()
                await asyncio.sleep(0)
            await worker.shutdown()
        assert leaked == []

    play_in_real_time(story)
