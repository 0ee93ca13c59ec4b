"""The contract of :class:`perdure.ports.log.Inbox`."""

import asyncio
from collections import defaultdict

from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.log import Delivery, Subscription
from perdure.testing.contracts.support import (
    Seen,
    Stage,
    expect,
    expect_equal,
    fresh,
    run_all,
    suite,
)


async def open_all(
    backend: Backend, queue: str, seen: Seen[Delivery], *, credit: int = 100
) -> list[Subscription]:
    """Open every partition: which one a workflow falls into is the adapter's affair."""
    return [
        await backend.inbox.open(queue, partition, seen, credit=credit)
        for partition in range(backend.partitions)
    ]


async def close_all(subscriptions: list[Subscription]) -> None:
    for subscription in subscriptions:
        await subscription.close()


async def partition_of(backend: Backend, address: Address) -> int:
    """Learn a workflow's partition from who is offered an event of it."""
    found: asyncio.Queue[int] = asyncio.Queue()

    def finder(partition: int) -> Seen[Delivery]:
        def on_delivery(delivery: Delivery) -> None:
            delivery.ack()
            found.put_nowait(partition)

        return Seen(on_delivery)

    subscriptions = [
        await backend.inbox.open(address.queue, partition, finder(partition), credit=10)
        for partition in range(backend.partitions)
    ]
    await backend.log.append(address, Lane.ENGINE, b"where?")
    partition = await asyncio.wait_for(found.get(), 20)
    await close_all(subscriptions)
    return partition


async def offers_events_of_both_lanes(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order: ü/1"))
    early = await backend.log.append(address, Lane.EXTERNAL, b"before open")
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(backend, address.queue, seen)
    late = await backend.log.append(address, Lane.ENGINE, b"after open")
    got = await seen.take(2, "events appended before and after open are offered")
    expect_equal(
        [(d.address, d.lane, d.message.seq, d.message.data, d.attempt) for d in got],
        [
            (address, Lane.EXTERNAL, early, b"before open", 1),
            (address, Lane.ENGINE, late, b"after open", 1),
        ],
        "a delivery says where it comes from and what it is",
    )
    [stored] = await backend.log.read([late])
    expect_equal(got[1].message, stored, "the inbox is the log: same sequence, time and bytes")
    await close_all(subscriptions)


async def does_not_offer_history_or_other_queues(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(backend, address.queue, seen)
    await backend.log.commit(address, b"history", after=0)
    await backend.log.append(Address(fresh("queue"), address.workflow_id), Lane.ENGINE, b"other")
    await backend.log.append(address, Lane.ENGINE, b"mine")
    delivery = await seen.next("an event is offered")
    expect_equal(delivery.message.data, b"mine", "only the queue's events are offered, not history")
    await seen.nothing("each event is offered to one partition", during=backend.lease // 4)
    await close_all(subscriptions)


async def offers_each_lane_in_order(stage: Stage) -> None:
    backend = await stage.connect()
    queue = fresh("queue")
    addresses = [Address(queue, fresh("order")) for _ in range(6)]
    expected: dict[tuple[Address, Lane], list[int]] = defaultdict(list)
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(backend, queue, seen, credit=7)
    for _ in range(5):
        for address in addresses:
            for lane in (Lane.EXTERNAL, Lane.ENGINE):
                expected[address, lane].append(await backend.log.append(address, lane, b"x"))
    got: dict[tuple[Address, Lane], list[int]] = defaultdict(list)
    for delivery in await seen.take(60, "every event is offered"):
        if delivery.attempt == 1:
            got[delivery.address, delivery.lane].append(delivery.message.seq)
    expect_equal(dict(got), dict(expected), "each lane of each workflow is offered in log order")
    await close_all(subscriptions)


async def partition_of_a_workflow_is_stable(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    first = await partition_of(one, address)
    second = await partition_of(other, address)
    expect_equal(second, first, "a workflow stays in its partition, whoever opens it")


async def credit_limits_the_unsettled(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    partition = await partition_of(backend, address)
    seqs = [await backend.log.append(address, Lane.ENGINE, b"%d" % i) for i in range(5)]
    seen: Seen[Delivery] = Seen()
    subscription = await backend.inbox.open(address.queue, partition, seen, credit=2)
    first = await seen.take(2, "as many as there is credit for are offered")
    await seen.nothing("credit 2 allows two unsettled deliveries", during=backend.lease // 4)
    first[0].ack()
    third = await seen.next("a settled delivery makes room for the next")
    await seen.nothing("credit 2 allows two unsettled deliveries", during=backend.lease // 4)
    for delivery in (first[1], third):
        delivery.ack()
    rest = await seen.take(2, "settled deliveries make room for the next")
    for delivery in rest:
        delivery.ack()
    expect_equal([d.message.seq for d in (*first, third, *rest)], seqs, "in log order")
    await subscription.close()


async def acknowledged_is_not_offered_again(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    await backend.log.append(address, Lane.ENGINE, b"x")
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(backend, address.queue, seen)
    await seen.next("an event is offered")
    await seen.nothing("what is acknowledged is not offered again", during=backend.lease * 3 // 2)
    await close_all(subscriptions)


async def lease_ends_and_another_is_offered(stage: Stage) -> None:
    holder, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    partition = await partition_of(holder, address)
    seq = await holder.log.append(address, Lane.ENGINE, b"x")
    held: Seen[Delivery] = Seen()
    first = await holder.inbox.open(address.queue, partition, held, credit=1)
    delivery = await held.next("an event is offered")
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    second = await other.inbox.open(address.queue, partition, seen, credit=1)
    # The silent holder stops asking, as a dead one does, but says nothing of what it holds.
    await first.close()
    await seen.nothing("a held delivery is not offered elsewhere", during=holder.lease // 4)
    again = await seen.next("a delivery whose holder is silent is offered again after its lease")
    expect_equal(again.message.seq, seq, "the same event is offered again")
    expect(again.attempt > delivery.attempt, f"attempt counts offers: {again.attempt}")
    await second.close()


async def reclaimed_is_offered_at_once(stage: Stage) -> None:
    holder, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    partition = await partition_of(holder, address)
    seqs = [await holder.log.append(address, Lane.ENGINE, b"%d" % i) for i in range(3)]
    held: Seen[Delivery] = Seen()
    first = await holder.inbox.open(address.queue, partition, held, credit=2)
    deliveries = await held.take(2, "events are offered")
    await first.close()
    seen: Seen[Delivery] = Seen()
    second = await other.inbox.open(address.queue, partition, seen, credit=10, reclaim=True)
    again = [
        await seen.next("what a dead holder had is offered at once", within=other.lease * 3 // 4)
        for _ in range(3)
    ]
    expect_equal(
        {d.message.seq for d in again}, set(seqs), "reclaimed and fresh events are offered"
    )
    for delivery in deliveries:
        offered = next(d for d in again if d.message.seq == delivery.message.seq)
        expect(offered.attempt > delivery.attempt, f"attempt counts offers: {offered.attempt}")
    await seen.nothing("the new holder's leases are whole", during=other.lease // 2)
    for delivery in again:
        delivery.ack()
    await seen.nothing("then they are settled", during=other.lease * 3 // 2)
    await second.close()


async def extend_keeps_the_lease(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    await backend.log.append(address, Lane.ENGINE, b"x")
    seen: Seen[Delivery] = Seen()
    subscriptions = await open_all(backend, address.queue, seen)
    delivery = await seen.next("an event is offered")
    for _ in range(6):
        delivery.extend()
        await seen.nothing("an extended delivery is not offered again", during=backend.lease // 3)
    delivery.ack()
    await seen.nothing("then it is settled", during=backend.lease * 3 // 2)
    await close_all(subscriptions)


async def nak_offers_again(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    seq = await backend.log.append(address, Lane.ENGINE, b"x")
    seen: Seen[Delivery] = Seen()
    subscriptions = await open_all(backend, address.queue, seen)
    first = await seen.next("an event is offered")
    first.nak()
    again = await seen.next("a refused event is offered again", within=backend.lease * 3 // 4)
    expect_equal((again.message.seq, again.attempt), (seq, first.attempt + 1), "attempt counts")
    delay = backend.lease // 2
    again.nak(delay)
    await seen.nothing("a refused event waits for the delay", during=delay * 2 // 3)
    third = await seen.next("a refused event is offered again after the delay")
    expect_equal((third.message.seq, third.attempt), (seq, first.attempt + 2), "attempt counts")
    third.ack()
    await close_all(subscriptions)


async def two_openers_share(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    partition = await partition_of(one, address)
    holder, helper = Seen[Delivery](), Seen[Delivery]()
    first = await one.inbox.open(address.queue, partition, holder, credit=1)
    second = await other.inbox.open(address.queue, partition, helper, credit=1)
    for i in range(2):
        await one.log.append(address, Lane.ENGINE, b"%d" % i)
    deliveries = [
        await holder.next("two openers share the events"),
        await helper.next("two openers share the events"),
    ]
    expect(
        deliveries[0].message.seq != deliveries[1].message.seq, "an event is offered to one of them"
    )
    for delivery in deliveries:
        delivery.ack()
    await close_all([first, second])


async def place_survives_everybody(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    seqs = [await one.log.append(address, Lane.ENGINE, b"%d" % i) for i in range(3)]
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(one, address.queue, seen)
    await seen.take(3, "events are offered")
    # Acknowledgements are not waited for: closing gives them time to arrive.
    await close_all(subscriptions)
    seqs.append(await one.log.append(address, Lane.ENGINE, b"while nobody listens"))
    later: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(other, address.queue, later)
    delivery = await later.next("events appended while nobody listened are offered")
    expect_equal(delivery.message.seq, seqs[-1], "the place in the log survives its openers")
    await close_all(subscriptions)


async def close_returns_the_buffered(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    partition = await partition_of(one, address)
    for i in range(4):
        await one.log.append(address, Lane.ENGINE, b"%d" % i)
    held: Seen[Delivery] = Seen()
    first = await one.inbox.open(address.queue, partition, held, credit=2)
    handed = await held.take(2, "events are offered")
    await first.close()
    await first.close()
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    second = await other.inbox.open(address.queue, partition, seen, credit=10)
    rest = [
        await seen.next(
            "what was not handed over goes to others at once", within=one.lease * 3 // 4
        )
        for _ in range(2)
    ]
    expect_equal([d.message.data for d in rest], [b"2", b"3"], "what was handed over stays held")
    for delivery in handed:
        delivery.ack()
    await seen.nothing(
        "deliveries handed over before close can still be settled", during=one.lease * 3 // 2
    )
    await second.close()
    expect_equal(len(held.items), 2, "a closed subscription gets nothing more")


async def close_in_a_burst_returns_the_rest(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    partition = await partition_of(one, address)
    held: Seen[Delivery] = Seen()
    first = await one.inbox.open(address.queue, partition, held, credit=100)
    *seqs, _ = await asyncio.gather(
        *(one.log.append(address, Lane.ENGINE, b"x") for _ in range(20)), first.close()
    )
    handed = {delivery.message.seq for delivery in held.items}
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    second = await other.inbox.open(address.queue, partition, seen, credit=100)
    rest: set[int] = set()
    while handed | rest != set(seqs):
        promise = "what was not handed over before close goes to others at once"
        delivery = await seen.next(promise, within=one.lease * 3 // 4)
        rest.add(delivery.message.seq)
    expect_equal(handed & rest, set[int](), "what was handed over before close stays held")
    expect_equal(len(held.items), len(handed), "a closed subscription gets nothing more")
    for delivery in held.items:
        delivery.ack()
    await second.close()


async def purged_events_are_not_offered(stage: Stage) -> None:
    backend = await stage.connect()
    address = Address(fresh("queue"), fresh("order"))
    gone = await backend.log.append(address, Lane.ENGINE, b"gone")
    await backend.log.purge(address, gone)
    kept = await backend.log.append(address, Lane.ENGINE, b"kept")
    seen: Seen[Delivery] = Seen(lambda delivery: delivery.ack())
    subscriptions = await open_all(backend, address.queue, seen)
    delivery = await seen.next("an event is offered")
    expect_equal(delivery.message.seq, kept, "a purged event is not offered")
    await close_all(subscriptions)


INBOX = suite(
    offers_events_of_both_lanes,
    does_not_offer_history_or_other_queues,
    offers_each_lane_in_order,
    partition_of_a_workflow_is_stable,
    credit_limits_the_unsettled,
    acknowledged_is_not_offered_again,
    lease_ends_and_another_is_offered,
    reclaimed_is_offered_at_once,
    extend_keeps_the_lease,
    nak_offers_again,
    two_openers_share,
    place_survives_everybody,
    close_returns_the_buffered,
    close_in_a_burst_returns_the_rest,
    purged_events_are_not_offered,
)


async def check_inbox(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(INBOX, stage)
