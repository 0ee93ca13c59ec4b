"""TaskQueue and Heartbeats on a real server."""

import asyncio

import pytest
from support.hot import Collector, eventually

from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.tasks import JetStreamHeartbeats, JetStreamTasks
from perdure.ports.addresses import TaskKey
from perdure.ports.errors import Conflict
from perdure.ports.tasks import TaskDelivery

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

KEY = TaskKey("mail queue", "order:1", "run-1", 7)


@pytest.fixture
def tasks(link: Link, subjects: Subjects) -> JetStreamTasks:
    return JetStreamTasks(link, subjects)


async def test_one_task_per_key_until_it_is_done(tasks: JetStreamTasks) -> None:
    assert await tasks.offer(KEY, b"a")
    assert not await tasks.offer(KEY, b"b")
    got = Collector()
    subscription = await tasks.open(KEY.queue, got, credit=5)
    (delivery,) = await got.count(1)
    assert (delivery.key, delivery.message.data, delivery.attempt) == (KEY, b"a", 1)
    assert not await tasks.offer(KEY, b"c")
    delivery.ack()
    delivery.ack()
    await eventually(lambda: tasks.offer(KEY, b"d"))
    await got.count(2)
    assert got.bodies == [b"a", b"d"]
    await subscription.close()


async def test_dedup_outlives_the_task(tasks: JetStreamTasks) -> None:
    assert await tasks.offer(KEY, b"a", dedup="run.7.1")
    assert not await tasks.offer(KEY, b"a", dedup="run.7.1")
    assert not await tasks.offer(KEY, b"a", dedup="run.7.2")
    await tasks.remove(KEY)
    assert await tasks.current(KEY) is None
    assert await tasks.offer(KEY, b"a", dedup="run.7.1")
    assert await tasks.current(KEY) is None


async def test_words_about_a_replaced_task_are_harmless(tasks: JetStreamTasks) -> None:
    await tasks.offer(KEY, b"first")
    got = Collector()
    subscription = await tasks.open(KEY.queue, got, credit=5)
    (first,) = await got.count(1)
    seq = await tasks.replace(KEY, b"second", seq=first.message.seq)
    await got.count(2)
    second = got.got[1]
    assert (second.message.seq, second.message.data, second.attempt) == (seq, b"second", 1)
    first.nak()
    first.ack()
    with pytest.raises(Conflict):
        await tasks.replace(KEY, b"stale", seq=first.message.seq)
    current = await tasks.current(KEY)
    assert current is not None and (current.seq, current.data) == (seq, b"second")
    assert len(got.got) == 2
    second.ack()
    await subscription.close()


async def test_replace_of_nothing(tasks: JetStreamTasks) -> None:
    await tasks.replace(KEY, b"made", seq=0)
    with pytest.raises(Conflict):
        await tasks.replace(KEY, b"twice", seq=0)


async def test_nak_offers_again_after_the_delay(tasks: JetStreamTasks) -> None:
    await tasks.offer(KEY, b"a")
    got = Collector()
    subscription = await tasks.open(KEY.queue, got, credit=1)
    (first,) = await got.count(1)
    first.nak(50_000_000)
    await got.count(2)
    assert got.got[1].attempt == 2
    got.got[1].nak()
    await got.count(3)
    got.got[2].ack()
    await subscription.close()


async def test_a_silent_holder_loses_the_task_and_extend_keeps_it(
    link: Link, subjects: Subjects
) -> None:
    tasks = JetStreamTasks(link, subjects, lease=1_000_000_000)
    silent, lively = KEY, TaskKey(KEY.queue, "order:2", "run-1", 1)
    one, other = Collector(), Collector()
    first = await tasks.open(KEY.queue, one, credit=2)
    await tasks.offer(silent, b"silent")
    await tasks.offer(lively, b"lively")
    await one.count(2)
    second = await tasks.open(KEY.queue, other, credit=5)
    held = next(delivery for delivery in one.got if delivery.key == lively)
    while not other.got:
        held.extend()
        await asyncio.sleep(0.1)
    assert {delivery.key for delivery in other.got} == {silent}
    assert other.got[0].attempt == 2
    await first.close()
    await second.close()


async def test_credit_bounds_what_is_held(link: Link, tasks: JetStreamTasks) -> None:
    for n in range(50):
        await tasks.offer(TaskKey("q", "w", "r", n), b"")
    held, most = set[int](), 0
    done = asyncio.Event()
    seen = 0

    def take(delivery: TaskDelivery) -> None:
        nonlocal most, seen
        seen += 1
        held.add(id(delivery))
        most = max(most, len(held))
        asyncio.get_running_loop().call_later(0.002, settle, delivery)

    def settle(delivery: TaskDelivery) -> None:
        held.discard(id(delivery))
        delivery.ack()
        if seen == 50 and not held:
            done.set()

    subscription = await tasks.open("q", take, credit=7)
    async with asyncio.timeout(20):
        await done.wait()
    assert most == 7
    await subscription.close()


async def test_two_openers_share_a_queue(tasks: JetStreamTasks) -> None:
    one, other = Collector(ack=True), Collector(ack=True)
    first = await tasks.open("q", one, credit=2)
    second = await tasks.open("q", other, credit=2)
    await asyncio.gather(*(tasks.offer(TaskKey("q", "w", "r", n), b"") for n in range(200)))
    await eventually(lambda: len(one.got) + len(other.got) >= 200)
    numbers = [delivery.key.n for delivery in (*one.got, *other.got)]
    assert sorted(numbers) == list(range(200))
    await first.close()
    await second.close()


async def test_backlog_counts_what_nobody_holds(tasks: JetStreamTasks) -> None:
    assert await tasks.backlog("q") == 0
    for n in range(5):
        await tasks.offer(TaskKey("q", "w", "r", n), b"")
    assert await tasks.backlog("q") == 5
    got = Collector()
    subscription = await tasks.open("q", got, credit=2)
    await got.count(2)
    assert await tasks.backlog("q") == 3
    await subscription.close()


async def test_heartbeats_keep_the_newest(link: Link, subjects: Subjects) -> None:
    beats = JetStreamHeartbeats(link, subjects)
    assert await beats.last(KEY) is None
    for n in range(3):
        await beats.beat(KEY, str(n).encode())
    assert await beats.last(KEY) == b"2"
    body = {"subjects_filter": subjects.beat(KEY)}
    info = await link.api(f"STREAM.INFO.{subjects.log_stream}", body)
    assert info["state"]["subjects"] == {subjects.beat(KEY): 1}
