"""What a memory store does beyond the ports' contracts: crashes, a full disk, exact timers."""

import asyncio
import contextvars
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from perdure.adapters.memory import MemoryStore
from perdure.core.durations import HOUR, MINUTE, SECOND
from perdure.ports.addresses import Address, Lane, TaskKey, TimerKey
from perdure.ports.errors import StoreFull, TooLarge, Unavailable
from perdure.ports.ingress import IngressDelivery
from perdure.ports.log import Delivery
from perdure.ports.tasks import TaskDelivery
from perdure.testing.virtual_time import START, run

ADDRESS = Address("default", "order-1")
KEY = TaskKey("default", "order-1", "run", 1)
TIMER = TimerKey(ADDRESS, "run", 1)


def play(program: Coroutine[Any, Any, None]) -> None:
    run(program, limit=timedelta(days=30))


def test_stream_time_is_the_virtual_loops() -> None:
    async def program() -> None:
        backend = MemoryStore().backend()
        await asyncio.sleep(10)
        seq = await backend.log.append(ADDRESS, Lane.ENGINE, b"x")
        [stored] = await backend.log.read([seq])
        assert stored is not None
        assert stored.timestamp == int(START.timestamp()) * 10**9 + 10 * SECOND
        assert backend.clock.now() == stored.timestamp

    play(program())


def test_timers_fire_on_the_nanosecond() -> None:
    async def program() -> None:
        store = MemoryStore()
        backend = store.backend()
        dues = [store.now + 10 * SECOND + offset for offset in (0, 1, 123_456_789, HOUR)]
        for n, due in enumerate(dues):
            await backend.timers.arm(TimerKey(ADDRESS, "run", n), due, b"%d" % n)
        await asyncio.sleep(7_200)
        events = await backend.log.following(ADDRESS, Lane.ENGINE, 0)
        assert [event.data for event in events] == [b"0", b"1", b"2", b"3"]
        for event, due in zip(events, dues, strict=True):
            assert due <= event.timestamp <= due + 2

    play(program())


def test_dedup_forgets_after_two_minutes() -> None:
    async def program() -> None:
        backend = MemoryStore().backend()
        first = await backend.log.append(ADDRESS, Lane.ENGINE, b"x", dedup="word")
        await asyncio.sleep(119)
        assert await backend.log.append(ADDRESS, Lane.ENGINE, b"x", dedup="word") == first
        await asyncio.sleep(2)
        assert await backend.log.append(ADDRESS, Lane.ENGINE, b"x", dedup="word") > first

    play(program())


def test_a_crashed_process_is_cut_off_and_its_work_goes_to_others() -> None:
    async def program() -> None:
        store = MemoryStore()
        dead, alive = store.backend(), store.backend()
        await alive.tasks.offer(KEY, b"work")
        held: asyncio.Queue[TaskDelivery] = asyncio.Queue()
        taken: asyncio.Queue[TaskDelivery] = asyncio.Queue()
        await dead.tasks.open("default", held.put_nowait, credit=1)
        delivery = await held.get()
        begun = store.now
        delivery.ack()
        store.crash(dead)
        with pytest.raises(Unavailable):
            await dead.tasks.current(KEY)
        await alive.tasks.open("default", taken.put_nowait, credit=1)
        again = await taken.get()
        assert again.attempt == 2, "the dead process's acknowledgement was still on its way"
        assert store.now - begun == alive.lease
        delivery.ack()
        await asyncio.sleep(1)
        assert await alive.tasks.current(KEY) is not None
        await alive.tasks.offer(TaskKey("default", "order-2", "run", 1), b"more")
        await asyncio.sleep(1)
        assert held.empty()

    play(program())


def test_a_full_store_refuses_and_timers_get_stuck_until_armed_again() -> None:
    async def program() -> None:
        store = MemoryStore()
        backend = store.backend()
        task = await backend.tasks.replace(KEY, b"work", seq=0)
        await backend.timers.arm(TIMER, store.now + MINUTE, b"fired")
        store.full = True
        for write in (
            backend.log.append(ADDRESS, Lane.ENGINE, b"x"),
            backend.log.commit(ADDRESS, b"x", after=0),
            backend.tasks.replace(KEY, b"y", seq=task),
            backend.state.create("order-1", b"x"),
            backend.archive.put("order-1", "run", b"x"),
            backend.blobs.put("order-1/run/1", b"x"),
        ):
            with pytest.raises(StoreFull):
                await write
        current = await backend.tasks.current(KEY)
        assert current is not None and current.seq == task
        await asyncio.sleep(120)
        store.full = False
        await asyncio.sleep(120)
        assert await backend.log.following(ADDRESS, Lane.ENGINE, 0) == []
        assert [key async for key in backend.timers.overdue(store.now)] == [TIMER]
        await backend.timers.rearm(TIMER)
        await asyncio.sleep(0.001)
        [event] = await backend.log.following(ADDRESS, Lane.ENGINE, 0)
        assert event.data == b"fired"
        assert [key async for key in backend.timers.overdue(store.now)] == []

    play(program())


def test_too_large_is_refused() -> None:
    async def program() -> None:
        backend = MemoryStore(max_message=1_000).backend()
        with pytest.raises(TooLarge):
            await backend.log.append(ADDRESS, Lane.ENGINE, bytes(200_000))
        assert await backend.log.following(ADDRESS, Lane.ENGINE, 0) == []

    play(program())


def test_live_objects_are_refused() -> None:
    async def program() -> None:
        backend = MemoryStore().backend()
        live: Any = {"an": "object"}
        with pytest.raises(TypeError, match="keeps bytes, not dict"):
            await backend.log.append(ADDRESS, Lane.ENGINE, live)
        buffer: Any = bytearray(b"before")
        seq = await backend.log.append(ADDRESS, Lane.ENGINE, buffer)
        buffer[:] = b"after!"
        [stored] = await backend.log.read([seq])
        assert stored is not None and stored.data == b"before"

    play(program())


def test_words_of_a_holder_turned_out_of_the_door_are_too_late() -> None:
    async def program() -> None:
        store = MemoryStore()
        old, new = store.backend(), store.backend()
        held: list[IngressDelivery] = []
        taken: list[IngressDelivery] = []
        await old.ingress.open(held.append, credit=2)
        seqs = [await store.request("cancel", ("order-1",), b"") for _ in range(2)]
        await asyncio.sleep(1)
        await new.ingress.open(taken.append, credit=2)
        for delivery in held:
            delivery.ack()
        await asyncio.sleep(1)
        assert [delivery.message.seq for delivery in taken] == seqs
        assert await new.ingress.settled() == seqs[0] - 1

    play(program())


def test_a_late_acknowledgement_settles_but_a_late_refusal_does_nothing() -> None:
    async def program() -> None:
        store = MemoryStore()
        backend = store.backend()
        seen: list[Delivery] = []
        for partition in range(backend.partitions):
            await backend.inbox.open("default", partition, seen.append, credit=5)
        await backend.log.append(ADDRESS, Lane.ENGINE, b"x")
        await asyncio.sleep(backend.lease / 1e9 + 1)
        assert [delivery.attempt for delivery in seen] == [1, 2]
        seen[0].nak()
        await asyncio.sleep(1)
        assert len(seen) == 2
        seen[0].ack()
        await asyncio.sleep(backend.lease / 1e9 * 3)
        assert len(seen) == 2

    play(program())


def test_callbacks_come_from_the_loop_in_the_openers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def program() -> None:
        backend = MemoryStore().backend()
        seen: list[str] = []

        def on_delivery(delivery: TaskDelivery) -> None:
            seen.append(variable.get())
            delivery.ack()

        variable.set("opener")
        await backend.tasks.open("default", on_delivery, credit=1)
        variable.set("writer")
        await backend.tasks.offer(KEY, b"work")
        await asyncio.sleep(1)
        assert seen == ["opener"]

    play(program())


def test_a_store_belongs_to_one_loop() -> None:
    store = MemoryStore()

    async def program() -> None:
        await store.backend().log.append(ADDRESS, Lane.ENGINE, b"x")

    play(program())
    with pytest.raises(RuntimeError, match="another event loop"):
        play(program())


def test_a_real_loop_goes_by_the_wall_clock() -> None:
    async def program() -> None:
        store = MemoryStore()
        assert store.now > 1_700_000_000 * 10**9
        assert MemoryStore(epoch=0).now < store.now

    asyncio.run(program())
