"""Timers on a real server."""

import asyncio
from collections import Counter

import pytest
from support.hot import Collector, eventually

from perdure.adapters.jetstream.clock import StreamClock
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import JetStreamInbox, JetStreamLog
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.timers import JetStreamTimers
from perdure.ports.addresses import Address, Lane, Stored, TimerKey
from perdure.ports.errors import AlreadyExists

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

HERE = Address("default", "order:1")
KEY = TimerKey(HERE, "run-1", 3)
SECOND = 1_000_000_000


@pytest.fixture
def timers(link: Link, subjects: Subjects) -> JetStreamTimers:
    return JetStreamTimers(link, subjects)


async def following(log: JetStreamLog, count: int) -> list[Stored]:
    found: list[Stored] = []

    async def enough() -> bool:
        found[:] = await log.following(HERE, Lane.ENGINE, 0)
        return len(found) >= count

    await eventually(enough)
    return found


async def test_fires_into_the_engine_lane_and_never_early(
    link: Link, subjects: Subjects, timers: JetStreamTimers
) -> None:
    clock = await StreamClock.start(link, subjects.log_stream)
    got = Collector(ack=True)
    subscription = await JetStreamInbox(link, subjects, partitions=1).open(
        "default", 0, got, credit=10
    )
    dues = [clock.now() + wait for wait in (SECOND * 13 // 10, SECOND // 2, -5 * SECOND)]
    for n, due in enumerate(dues):
        await timers.arm(TimerKey(HERE, "run-1", n), due, b"fired %d" % n)
    await got.count(3)
    for delivery in got.got:
        assert (delivery.address, delivery.lane) == (HERE, Lane.ENGINE)
        n = int(delivery.message.data.split()[1])
        assert delivery.message.timestamp >= dues[n]
    assert [one.message.data for one in got.got] == [b"fired 2", b"fired 1", b"fired 0"]
    await subscription.close()


async def test_arming_twice(timers: JetStreamTimers) -> None:
    await timers.arm(KEY, 2_000_000_000 * SECOND, b"")
    with pytest.raises(AlreadyExists):
        await timers.arm(KEY, 2_000_000_000 * SECOND, b"")


async def test_fire_from_memory_disarms(
    link: Link, subjects: Subjects, timers: JetStreamTimers
) -> None:
    log = JetStreamLog(link, subjects)
    armed = await timers.arm(KEY, 2_000_000_000 * SECOND, b"fired")
    assert not await timers.fire(KEY, b"early", armed=armed + 1)
    assert await timers.fire(KEY, b"now", armed=armed)
    assert not await timers.fire(KEY, b"twice", armed=armed)
    assert [one.data for one in await log.following(HERE, Lane.ENGINE, 0)] == [b"now"]
    assert [key async for key in timers.overdue(2**63)] == []
    await timers.arm(KEY, 2_000_000_000 * SECOND, b"again")


async def test_fire_against_the_schedule_loses_none(
    link: Link, subjects: Subjects, timers: JetStreamTimers
) -> None:
    clock = await StreamClock.start(link, subjects.log_stream)
    due = clock.now() + 2 * SECOND
    keys = [TimerKey(HERE, "run-1", n) for n in range(60)]
    armed = [await timers.arm(key, due, b"%d" % key.n) for key in keys]

    async def at_due(key: TimerKey, seq: int) -> bool:
        await asyncio.sleep(max(0, due - clock.now()) / SECOND + (key.n - 30) / 3000)
        return await timers.fire(key, b"%d" % key.n, armed=seq)

    await asyncio.gather(*map(at_due, keys, armed))
    log = JetStreamLog(link, subjects)
    fired = await following(log, len(keys))
    assert [key async for key in timers.overdue(due + 1)] == []
    # The server takes due schedules off the shelf before it stores what they say, so a few that are
    # fired within that millisecond come twice. Their identity is the same.
    times = Counter(int(one.data) for one in fired)
    assert set(times) == set(range(60))
    assert max(times.values()) <= 2


async def test_cancel(link: Link, subjects: Subjects, timers: JetStreamTimers) -> None:
    armed = await timers.arm(KEY, 2_000_000_000 * SECOND, b"")
    await timers.cancel(KEY)
    await timers.cancel(KEY)
    assert not await timers.fire(KEY, b"", armed=armed)


async def test_overdue_and_rearm(link: Link, subjects: Subjects, timers: JetStreamTimers) -> None:
    far = 2_000_000_000 * SECOND
    for n in range(300):
        await timers.arm(TimerKey(HERE, "run-1", n), far + n, b"%d" % n)
    late = [key.n async for key in timers.overdue(far + 270)]
    assert late == list(range(270))
    key = TimerKey(HERE, "run-1", 5)
    await timers.rearm(key)
    again = await link.last_message(subjects.log_stream, subjects.timer(key), leader=True)
    assert again is not None and again.data == b"5"
    assert [found.n async for found in timers.overdue(far + 6)] == [0, 1, 2, 3, 4, 5]
    assert await timers.fire(key, b"x", armed=again.seq)
    await timers.rearm(key)
    assert [found.n async for found in timers.overdue(far + 6)] == [0, 1, 2, 3, 4]


async def test_a_due_time_beyond_the_servers_clock_does_not_fire(
    link: Link, subjects: Subjects, timers: JetStreamTimers
) -> None:
    armed = await timers.arm(KEY, 2**70, b"")
    clock = await StreamClock.start(link, subjects.log_stream)
    await timers.arm(TimerKey(HERE, "run-1", 4), clock.now(), b"due")
    log = JetStreamLog(link, subjects)
    fired = await following(log, 1)
    assert [one.data for one in fired] == [b"due"]
    assert await timers.fire(KEY, b"", armed=armed)


async def test_the_clock_is_never_ahead(link: Link, subjects: Subjects) -> None:
    clock = await StreamClock.start(link, subjects.log_stream)
    log = JetStreamLog(link, subjects)
    for _ in range(50):
        before = clock.now()
        seq = await log.append(HERE, Lane.EXTERNAL, b"")
        (stored,) = await log.read([seq])
        assert stored is not None and stored.timestamp >= before
        clock.observe(stored.timestamp)
        assert clock.now() >= stored.timestamp
