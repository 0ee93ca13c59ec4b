"""EventLog and Inbox on a real server."""

import asyncio

import pytest
from support.hot import Collector

from perdure.adapters.jetstream.errors import Missing
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import JetStreamInbox, JetStreamLog
from perdure.adapters.jetstream.subjects import Subjects, partition_of_slot
from perdure.ports.addresses import Address, Lane
from perdure.ports.errors import Conflict, TooLarge

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

HERE = Address("default", "order:1")


@pytest.fixture
def log(link: Link, subjects: Subjects) -> JetStreamLog:
    return JetStreamLog(link, subjects)


async def test_append_and_read_back(log: JetStreamLog) -> None:
    first = await log.append(HERE, Lane.EXTERNAL, b"one")
    second = await log.append(HERE, Lane.ENGINE, b"")
    assert second > first
    found = await log.read([second, 999, first, second])
    assert [None if one is None else (one.seq, one.data) for one in found] == [
        (second, b""),
        None,
        (first, b"one"),
        (second, b""),
    ]
    assert all(one is None or one.timestamp > 1_700_000_000_000_000_000 for one in found)


async def test_read_of_many_keeps_the_order(log: JetStreamLog) -> None:
    seqs = await asyncio.gather(
        *(log.append(HERE, Lane.EXTERNAL, str(n).encode()) for n in range(500))
    )
    found = await log.read(list(reversed(seqs)))
    assert [one.seq for one in found if one is not None] == list(reversed(seqs))


async def test_dedup_returns_the_first_sequence(log: JetStreamLog) -> None:
    first = await log.append(HERE, Lane.EXTERNAL, b"a", dedup="word")
    assert await log.append(HERE, Lane.EXTERNAL, b"b", dedup="word") == first
    assert [one.data for one in await log.following(HERE, Lane.EXTERNAL, 0)] == [b"a"]


async def test_dedup_words_of_two_workflows_do_not_meet(log: JetStreamLog) -> None:
    first = await log.append(HERE, Lane.EXTERNAL, b"a", dedup="word")
    assert await log.append(Address("default", "other"), Lane.EXTERNAL, b"a", dedup="word") > first


async def test_commit_is_compare_and_set(log: JetStreamLog) -> None:
    first = await log.commit(HERE, b"k0", after=0)
    with pytest.raises(Conflict):
        await log.commit(HERE, b"again", after=0)
    await log.append(HERE, Lane.EXTERNAL, b"noise")
    second = await log.commit(HERE, b"k1", after=first)
    with pytest.raises(Conflict):
        await log.commit(HERE, b"late", after=first)
    tip = await log.tip(HERE)
    assert tip is not None and (tip.seq, tip.data) == (second, b"k1")


async def test_one_of_many_concurrent_commits_wins(log: JetStreamLog) -> None:
    tries = [log.commit(HERE, str(n).encode(), after=0) for n in range(50)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    won = [result for result in results if isinstance(result, int)]
    assert len(won) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 49


async def test_tip_of_nothing(log: JetStreamLog) -> None:
    assert await log.tip(HERE) is None
    assert await log.following(HERE, Lane.HISTORY, 0) == []
    assert await log.read([]) == []


async def test_following_is_one_lane_after_a_sequence(log: JetStreamLog) -> None:
    seqs = [await log.append(HERE, Lane.EXTERNAL, str(n).encode()) for n in range(10)]
    await log.append(HERE, Lane.ENGINE, b"other lane")
    await log.append(Address("default", "order:2"), Lane.EXTERNAL, b"other workflow")
    after = await log.following(HERE, Lane.EXTERNAL, seqs[3])
    assert [one.seq for one in after] == seqs[4:]
    assert [one.seq for one in await log.following(HERE, Lane.EXTERNAL, 0, 4)] == seqs[:4]
    assert await log.following(HERE, Lane.EXTERNAL, seqs[-1]) == []


async def test_following_of_large_messages_takes_several_batches(log: JetStreamLog) -> None:
    for n in range(12):
        await log.append(HERE, Lane.EXTERNAL, bytes([n]) * 900_000)
    found = await log.following(HERE, Lane.EXTERNAL, 0)
    assert [one.data[0] for one in found] == list(range(12))


async def test_purge_takes_all_lanes_up_to_a_sequence(log: JetStreamLog) -> None:
    other = Address("default", "order:2")
    kept = await log.append(other, Lane.EXTERNAL, b"kept")
    for lane in Lane:
        await log.append(HERE, lane, b"old")
    cut = await log.append(HERE, Lane.EXTERNAL, b"old")
    after = await log.append(HERE, Lane.EXTERNAL, b"new")
    await log.purge(HERE, cut)
    await log.purge(HERE, cut)
    assert [one.seq for one in await log.following(HERE, Lane.EXTERNAL, 0)] == [after]
    assert await log.tip(HERE) is None
    assert [one.seq for one in await log.following(other, Lane.EXTERNAL, 0)] == [kept]


async def test_too_large_is_said_before_it_is_sent(link: Link, log: JetStreamLog) -> None:
    with pytest.raises(TooLarge, match="max_payload"):
        await log.append(HERE, Lane.EXTERNAL, b"x" * link.max_payload, dedup="with a header")
    assert await log.append(HERE, Lane.EXTERNAL, b"x" * link.max_payload) == 1


async def test_deliveries_of_a_partition(link: Link, subjects: Subjects, log: JetStreamLog) -> None:
    inbox = JetStreamInbox(link, subjects, partitions=4)
    collectors = [Collector(ack=True) for _ in range(4)]
    opened = [
        await inbox.open("default", n, collector, credit=20)
        for n, collector in enumerate(collectors)
    ]
    places = [Address("default", f"w:{n}") for n in range(40)]
    for place in places:
        for n, lane in enumerate((Lane.EXTERNAL, Lane.ENGINE, Lane.EXTERNAL)):
            await log.append(place, lane, str(n).encode())
        await log.commit(place, b"never delivered", after=0)
    for n, collector in enumerate(collectors):
        mine = [place for place in places if partition_of_slot(place.slot, 4) == n]
        await collector.count(3 * len(mine))
        assert {one.address for one in collector.got} == set(mine)
        for place in mine:
            of_place = [one for one in collector.got if one.address == place]
            assert [(one.lane, one.message.data) for one in of_place] == [
                (Lane.EXTERNAL, b"0"),
                (Lane.ENGINE, b"1"),
                (Lane.EXTERNAL, b"2"),
            ]
            assert [one.attempt for one in of_place] == [1, 1, 1]
    for subscription in opened:
        await subscription.close()
        await subscription.close()


async def test_the_place_survives_its_opener(
    link: Link, subjects: Subjects, log: JetStreamLog
) -> None:
    inbox = JetStreamInbox(link, subjects, partitions=1)
    for n in range(6):
        await log.append(HERE, Lane.EXTERNAL, str(n).encode())
    first = Collector()
    subscription = await inbox.open("default", 0, first, credit=4)
    await first.count(4)
    for one in first.got[:3]:
        one.ack()
    first.got[3].nak()
    await subscription.close()
    second = Collector(ack=True)
    subscription = await inbox.open("default", 0, second, credit=4)
    await second.until(lambda: {b"3", b"4", b"5"} <= set(second.bodies))
    assert not {b"0", b"1", b"2"} & set(second.bodies)
    await subscription.close()


async def test_a_missing_consumer_is_named_when_it_may_not_be_made(
    link: Link, subjects: Subjects
) -> None:
    inbox = JetStreamInbox(link, subjects, create=False)
    with pytest.raises(Missing, match="default-2"):
        await inbox.open("default", 2, Collector(), credit=1)
