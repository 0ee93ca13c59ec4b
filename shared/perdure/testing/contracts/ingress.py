"""The contract of :class:`perdure.ports.ingress.Ingress`."""

from perdure.ports.backend import Backend
from perdure.ports.ingress import IngressDelivery
from perdure.testing.contracts.support import (
    Seen,
    Stage,
    eventually,
    expect,
    expect_equal,
    fresh,
    run_all,
    suite,
)


async def settle_all(stage: Stage, backend: Backend) -> int:
    """Leave nothing at the door for the next check; the newest request's sequence."""
    seen: Seen[IngressDelivery] = Seen(lambda delivery: delivery.ack())
    subscription = await backend.ingress.open(seen, credit=100)
    last = await stage.request("cancel", (fresh("last"),), b"")

    async def is_settled() -> bool:
        return await backend.ingress.settled() >= last

    await eventually(is_settled, "when all is acknowledged, all is settled")
    await subscription.close()
    return last


async def offers_requests_as_published(stage: Stage) -> None:
    backend = await stage.connect()
    workflow = fresh("order")
    tokens = {
        "start": ("OrderWorkflow", workflow),
        "signal": (workflow, "approve=20it"),
        "cancel": (workflow,),
    }
    await stage.request("start", ("OrderWorkflow",), b"{}")
    seen: Seen[IngressDelivery] = Seen(lambda delivery: delivery.ack())
    subscription = await backend.ingress.open(seen, credit=10)
    first = await seen.next("a request published before open is offered")
    expect_equal((first.kind, first.tokens), ("start", ("OrderWorkflow",)), "a start without id")
    headers = {"Perdure-Request-Id": "r-1", "traceparent": "00-1-2-01"}
    seqs = [
        await stage.request("start", tokens["start"], b'{"input": 1}', headers=headers),
        await stage.request("signal", tokens["signal"], b""),
        await stage.request("cancel", tokens["cancel"], b'{"reason": "x"}'),
    ]
    got = await seen.take(3, "requests are offered as they come")
    expect_equal(
        [(d.kind, d.tokens, d.message.data, d.attempt) for d in got],
        [
            ("start", tokens["start"], b'{"input": 1}', 1),
            ("signal", tokens["signal"], b"", 1),
            ("cancel", tokens["cancel"], b'{"reason": "x"}', 1),
        ],
        "a request comes as published, its tokens not decoded",
    )
    expect_equal([d.message.seq for d in got], seqs, "a request's sequence is its receipt's")
    expect_equal(
        {name: got[0].headers.get(name) for name in headers}, headers, "a request has its headers"
    )
    await subscription.close()
    await settle_all(stage, backend)


async def settled_follows_the_oldest(stage: Stage) -> None:
    backend = await stage.connect()
    before = await settle_all(stage, backend)
    seqs = [await stage.request("signal", (fresh("order"), "s"), b"") for _ in range(3)]
    settled = await backend.ingress.settled()
    expect(before <= settled < seqs[0], f"unsettled requests aren't settled: {settled}")
    seen: Seen[IngressDelivery] = Seen()
    subscription = await backend.ingress.open(seen, credit=10)
    got = await seen.take(3, "requests are offered")
    got[1].ack()
    got[2].ack()
    await seen.nothing("acknowledged requests are not offered again", during=backend.lease // 4)
    settled = await backend.ingress.settled()
    expect(settled < seqs[0], f"the oldest unsettled request holds the mark back: {settled}")
    got[0].ack()

    async def all_settled() -> bool:
        return await backend.ingress.settled() >= seqs[-1]

    await eventually(all_settled, "when the oldest is settled, the mark moves over all")
    await subscription.close()
    await settle_all(stage, backend)


async def take_over_offers_the_unsettled(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    await settle_all(stage, one)
    held, seen = Seen[IngressDelivery](), Seen[IngressDelivery]()
    first = await one.ingress.open(held, credit=3)
    seqs = [await stage.request("signal", (fresh("order"), "s"), b"%d" % i) for i in range(5)]
    got = await held.take(3, "requests are offered")
    got[1].ack()

    async def is_acknowledged() -> bool:
        # The acknowledgement made room for the fourth: it has arrived.
        return len(held.items) == 4

    await eventually(is_acknowledged, "a settled request makes room for the next")
    second = await other.ingress.open(seen, credit=10)
    left = [seqs[0], *seqs[2:]]
    taken = [
        await seen.next(
            "whoever takes over is offered all that is unsettled, at once",
            within=one.lease * 3 // 4,
        )
        for _ in left
    ]
    expect_equal([d.message.seq for d in taken], left, "the unsettled are offered oldest first")
    new = await stage.request("signal", (fresh("order"), "s"), b"new")
    last = await seen.next("then new ones are offered as they come")
    expect_equal(last.message.seq, new, "new requests go to whoever took over")
    expect_equal(len(held.items), 4, "whoever was turned out gets nothing more")
    for delivery in (*taken, last):
        delivery.ack()
    await first.close()
    await second.close()
    await settle_all(stage, other)


async def credit_and_redelivery(stage: Stage) -> None:
    backend = await stage.connect()
    await settle_all(stage, backend)
    seen: Seen[IngressDelivery] = Seen()
    subscription = await backend.ingress.open(seen, credit=1)
    seqs = [await stage.request("cancel", (fresh("order"),), b"") for _ in range(2)]
    first = await seen.next("a request is offered")
    expect_equal(first.message.seq, seqs[0], "oldest first")
    first.extend()
    await seen.nothing("credit 1 allows one unsettled request", during=backend.lease // 4)
    first.nak()
    again = await seen.next("a refused request is offered again")
    if again.message.seq != seqs[0]:
        again.ack()
        again = await seen.next("a refused request is offered again")
    expect_equal((again.message.seq, again.attempt), (seqs[0], 2), "attempt counts offers")
    again.ack()
    await subscription.close()
    await settle_all(stage, backend)


async def silent_holder_is_asked_again(stage: Stage) -> None:
    backend = await stage.connect()
    await settle_all(stage, backend)
    seen: Seen[IngressDelivery] = Seen()
    subscription = await backend.ingress.open(seen, credit=1)
    seq = await stage.request("cancel", (fresh("order"),), b"")
    await seen.next("a request is offered")
    again = await seen.next("a request nobody settles is offered again after its lease")
    expect_equal(again.message.seq, seq, "the same request")
    again.ack()
    await subscription.close()
    await settle_all(stage, backend)


async def message_ids_dedup(stage: Stage) -> None:
    backend = await stage.connect()
    await settle_all(stage, backend)
    workflow, word = fresh("order"), fresh("word")
    headers = {"Nats-Msg-Id": word}
    receipts = [
        await stage.request("start", ("OrderWorkflow", workflow), b"{}", headers=headers)
        for _ in range(2)
    ]
    expect_equal(receipts[1], receipts[0], "a request sent twice with one id has one receipt")
    seen: Seen[IngressDelivery] = Seen(lambda delivery: delivery.ack())
    subscription = await backend.ingress.open(seen, credit=10)
    delivery = await seen.next("a request is offered")
    expect_equal(delivery.headers.get("Nats-Msg-Id"), word, "the id is among the headers")
    await seen.nothing("a request sent twice with one id is one", during=backend.lease // 4)
    await subscription.close()


INGRESS = suite(
    offers_requests_as_published,
    settled_follows_the_oldest,
    take_over_offers_the_unsettled,
    credit_and_redelivery,
    silent_holder_is_asked_again,
    message_ids_dedup,
)


async def check_ingress(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(INGRESS, stage)
