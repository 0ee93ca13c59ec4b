"""The pull loop where consumers vanish, leases run out and openers leave."""

import asyncio

import pytest
from support.hot import Collector, create_hot_streams, eventually, linked
from support.nats_server import RunningServer

from perdure.adapters.jetstream import pull
from perdure.adapters.jetstream.link import Link, LinkSubscription
from perdure.adapters.jetstream.log import JetStreamInbox, JetStreamLog
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.tasks import JetStreamTasks
from perdure.adapters.jetstream.wire import Handler
from perdure.ports.addresses import Address, Lane, TaskKey

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

HERE = Address("default", "order:1")


def task(n: int) -> TaskKey:
    return TaskKey("q", "w", "r", n)


async def test_a_deleted_consumer_is_made_again(link: Link, subjects: Subjects) -> None:
    tasks, got = JetStreamTasks(link, subjects), Collector(ack=True)
    subscription = await tasks.open("q", got, credit=3)
    for n in range(3):
        await link.api(f"CONSUMER.DELETE.{subjects.tasks_stream}.q")
        await tasks.offer(task(n), b"%d" % n)
        await got.until(lambda n=n: b"%d" % n in got.bodies)
    await subscription.close()


async def test_a_deleted_stream_is_waited_for(link: Link, subjects: Subjects) -> None:
    tasks, got = JetStreamTasks(link, subjects), Collector(ack=True)
    subscription = await tasks.open("q", got, credit=3)
    for stream in (subjects.tasks_stream, subjects.log_stream):
        await link.api(f"STREAM.DELETE.{stream}")
    await create_hot_streams(link, subjects)
    await tasks.offer(task(1), b"")
    await got.count(1)
    await subscription.close()


async def test_what_comes_back_while_held_is_not_offered_twice(
    link: Link, subjects: Subjects
) -> None:
    tasks, got = JetStreamTasks(link, subjects, lease=300_000_000), Collector()
    subscription = await tasks.open("q", got, credit=10)
    await tasks.offer(task(1), b"slow")
    (held,) = await got.count(1)
    first = held.reply

    async def redelivered() -> bool:
        return held.reply != first

    await eventually(redelivered)
    held.ack()

    async def done() -> bool:
        return await tasks.current(task(1)) is None

    await eventually(done)
    assert len(got.got) == 1
    await subscription.close()


async def test_an_opener_that_leaves_gives_back_at_once(
    server: RunningServer, link: Link, subjects: Subjects
) -> None:
    """The lease is an hour: only what is given back can arrive elsewhere in time."""
    hour = 3_600_000_000_000
    async with linked(server.url) as other:
        stay, leave = Collector(ack=True), Collector()
        leaving = await JetStreamTasks(other, subjects, lease=hour).open("q", leave, credit=5)
        tasks = JetStreamTasks(link, subjects, lease=hour)
        for n in range(20):
            await tasks.offer(task(n), b"")
        await leave.count(5)
        await leaving.close()
        for delivery in leave.got:
            delivery.nak()
            delivery.nak()
        staying = await tasks.open("q", stay, credit=5)
        await stay.count(20)
        assert {one.key.n for one in stay.got} == set(range(20))
        await staying.close()


async def test_closing_under_load_loses_nothing(
    server: RunningServer, link: Link, subjects: Subjects
) -> None:
    tasks = JetStreamTasks(link, subjects, lease=2_000_000_000)
    seen: set[int] = set()
    total = 3000
    offering = asyncio.gather(*(tasks.offer(task(n), b"") for n in range(total)))
    async with linked(server.url) as other:
        many = JetStreamTasks(other, subjects, lease=2_000_000_000)
        for _ in range(10):
            got = Collector(ack=True)
            subscription = await many.open("q", got, credit=40)
            await got.count(100)
            await subscription.close()
            seen |= {one.key.n for one in got.got}
    await offering
    rest = Collector(ack=True)
    subscription = await tasks.open("q", rest, credit=200)
    await eventually(lambda: len(seen | {one.key.n for one in rest.got}) == total)
    await subscription.close()


async def test_extend_and_settle_after_close_are_quiet(link: Link, subjects: Subjects) -> None:
    log, got = JetStreamLog(link, subjects), Collector()
    subscription = await JetStreamInbox(link, subjects, partitions=1).open(
        "default", 0, got, credit=5
    )
    for _ in range(3):
        await log.append(HERE, Lane.EXTERNAL, b"")
    await got.count(3)
    await subscription.close()
    got.got[0].extend()
    got.got[0].ack()
    got.got[0].extend()
    await link.close()
    got.got[1].ack()
    got.got[2].extend()


async def test_credit_of_nothing_is_refused(link: Link, subjects: Subjects) -> None:
    with pytest.raises(ValueError, match="credit"):
        await JetStreamTasks(link, subjects).open("q", Collector(), credit=0)


async def test_silence_is_noticed(
    link: Link, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server forgets the inbox, as when a route or a leader is lost without a word."""
    monkeypatch.setattr(pull, "_HEARTBEAT", 100_000_000)
    monkeypatch.setattr(pull, "_SILENCE", 0.3)
    heard = list[int]()
    subscribe = link.subscribe

    async def note(subject: str, on_message: Handler, queue: str = "") -> LinkSubscription:
        made = await subscribe(subject, on_message, queue)
        heard.append(made.number)
        return made

    monkeypatch.setattr(link, "subscribe", note)
    tasks, got = JetStreamTasks(link, subjects), Collector(ack=True)
    subscription = await tasks.open("q", got, credit=3)
    link.push(b"UNSUB %d\r\n" % heard[0])
    await link.api("INFO")
    await tasks.offer(task(1), b"")
    await got.count(1)
    assert len(heard) > 1
    await subscription.close()
