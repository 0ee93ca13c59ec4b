"""The front door keeps order per id, through take-overs and lost connections."""

import asyncio
from pathlib import Path

import pytest
from support.jetstream_namespace import Namespace, connected, namespace

from perdure.adapters.jetstream.ingress import JetStreamIngress
from perdure.core.durations import SECOND
from perdure.ports.ingress import IngressDelivery

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


class Taker:
    """Collects what one opener is offered."""

    def __init__(self) -> None:
        self.deliveries: list[IngressDelivery] = []
        self._grown = asyncio.Event()

    def take(self, delivery: IngressDelivery) -> None:
        self.deliveries.append(delivery)
        self._grown.set()

    async def until(self, count: int) -> list[int]:
        async with asyncio.timeout(30):
            while len(self.deliveries) < count:
                self._grown.clear()
                await self._grown.wait()
        return self.seqs

    async def has(self, seq: int) -> None:
        async with asyncio.timeout(30):
            while seq not in self.seqs:
                self._grown.clear()
                await self._grown.wait()

    @property
    def seqs(self) -> list[int]:
        return [delivery.message.seq for delivery in self.deliveries]


async def publish(ns: Namespace, first: int, last: int) -> None:
    for n in range(first, last + 1):
        ack = await ns.link.publish(ns.subjects.signal("wf", "s"), b"%d" % n)
        assert ack.seq == n


async def consumers(ns: Namespace) -> list[str]:
    answer = await ns.link.api(f"CONSUMER.NAMES.{ns.subjects.ingress_stream}")
    names: list[str] = answer["consumers"] or []
    return names


async def settled_at(ingress: JetStreamIngress, seq: int) -> None:
    async with asyncio.timeout(10):
        while True:
            if await ingress.settled() == seq:
                return
            await asyncio.sleep(0.01)


async def test_requests_come_as_they_were_published(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        ingress = JetStreamIngress(ns.link, ns.subjects)
        assert await ingress.settled() == 0
        start, body = ns.subjects.start("Order", "order:1"), b'{"input": []}'
        await ns.link.publish(start, body, {"Perdure-Reply-To": "_INBOX.x", "traceparent": "t"})
        await ns.link.publish(ns.subjects.start("Order"), b"{}")
        await ns.link.publish(ns.subjects.signal("order:1", "approve"), b"true")
        await ns.link.publish(ns.subjects.cancel("order:1"), b"")
        taker = Taker()
        door = await ingress.open(taker.take, credit=16)
        assert await taker.until(4) == [1, 2, 3, 4]
        found = [(d.kind, d.tokens) for d in taker.deliveries]
        assert found == [
            ("start", ("Order", "order=3A1")),
            ("start", ("Order",)),
            ("signal", ("order=3A1", "approve")),
            ("cancel", ("order=3A1",)),
        ]
        first = taker.deliveries[0]
        assert first.headers["Perdure-Reply-To"] == "_INBOX.x"
        assert first.headers["traceparent"] == "t"
        assert first.message.data == body
        assert first.message.timestamp > 0
        assert first.attempt == 1
        taker.deliveries[1].ack()
        await ns.link.api("INFO")
        assert await ingress.settled() == 0
        taker.deliveries[0].ack()
        await settled_at(ingress, 2)
        taker.deliveries[2].ack()
        taker.deliveries[3].ack()
        await settled_at(ingress, 4)
        await door.close()


async def test_a_take_over_offers_everything_unsettled_in_order(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns, connected(ns.server.url) as other:
        await publish(ns, 1, 5)
        a, b = Taker(), Taker()
        door_a = await JetStreamIngress(ns.link, ns.subjects).open(a.take, credit=100)
        assert await a.until(5) == [1, 2, 3, 4, 5]
        door_b = await JetStreamIngress(other, ns.subjects).open(b.take, credit=100)
        await publish(ns, 6, 6)
        assert await b.until(6) == [1, 2, 3, 4, 5, 6]
        assert a.seqs == [1, 2, 3, 4, 5]
        # Words of the earlier holder count no more; those of the holder do.
        for delivery in a.deliveries:
            delivery.ack()
        await ns.link.api("INFO")
        ingress = JetStreamIngress(ns.link, ns.subjects)
        assert await ingress.settled() == 0
        for delivery in b.deliveries:
            delivery.ack()
        await settled_at(ingress, 6)
        assert len(await consumers(ns)) == 1
        await door_a.close()
        await door_b.close()


async def test_a_settled_request_is_not_offered_again(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        await publish(ns, 1, 4)
        ingress = JetStreamIngress(ns.link, ns.subjects)
        a, b = Taker(), Taker()
        first = await ingress.open(a.take, credit=10)
        await a.until(4)
        await first.close()
        for at in (0, 2):
            a.deliveries[at].ack()
        await settled_at(ingress, 1)
        door = await ingress.open(b.take, credit=10)
        assert await b.until(2) == [2, 4]
        await door.close()


async def test_of_many_openers_one_has_the_door(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        ingress = JetStreamIngress(ns.link, ns.subjects)
        takers = [Taker() for _ in range(4)]
        doors = await asyncio.gather(*(ingress.open(taker.take, credit=50) for taker in takers))
        assert len(await consumers(ns)) == 1
        await publish(ns, 1, 30)
        async with asyncio.timeout(30):
            while True:
                if sum(len(taker.seqs) for taker in takers) >= 30:
                    break
                await asyncio.sleep(0.01)
        assert sorted(taker.seqs for taker in takers) == [[], [], [], list(range(1, 31))]
        await asyncio.gather(*(door.close() for door in doors))


async def test_a_deleted_consumer_comes_back(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        ingress, taker = JetStreamIngress(ns.link, ns.subjects), Taker()
        door = await ingress.open(taker.take, credit=10)
        (name,) = await consumers(ns)
        await ns.link.api(f"CONSUMER.DELETE.{ns.subjects.ingress_stream}.{name}")
        await publish(ns, 1, 3)
        assert await taker.until(3) == [1, 2, 3]
        await door.close()


async def test_a_lost_connection_costs_no_order(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        ingress, taker = JetStreamIngress(ns.link, ns.subjects, lease=60 * SECOND), Taker()
        door = await ingress.open(taker.take, credit=100)
        await publish(ns, 1, 3)
        await taker.until(3)
        for round_number in range(3):
            ns.server.restart()
            first = 4 + round_number * 2
            async with asyncio.timeout(30):
                for n in (first, first + 1):
                    await ns.link.publish(
                        ns.subjects.signal("wf", "s"),
                        b"%d" % n,
                        {"Nats-Msg-Id": f"{n}"},
                        idempotent=True,
                        timeout=20,
                    )
            await taker.has(first + 1)
            for delivery in taker.deliveries:
                if delivery.message.seq <= first:
                    delivery.ack()
        # An acknowledgement that the crash swallowed means one more offer, never another order.
        assert list(dict.fromkeys(taker.seqs)) == list(range(1, 10))
        for delivery in taker.deliveries:
            delivery.ack()
        await settled_at(ingress, 9)
        await door.close()


async def test_one_opener_works_through_many_in_order(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        ingress = JetStreamIngress(ns.link, ns.subjects)
        seen: list[int] = []
        done = asyncio.Event()

        def take(delivery: IngressDelivery) -> None:
            seen.append(delivery.message.seq)
            delivery.ack()
            if len(seen) == 2_000:
                done.set()

        door = await ingress.open(take, credit=32)
        await asyncio.gather(
            *(ns.link.publish(ns.subjects.cancel(f"wf-{n}"), b"") for n in range(2_000))
        )
        async with asyncio.timeout(60):
            await done.wait()
        assert seen == list(range(1, 2_001))
        await door.close()
