"""The contract of :class:`perdure.ports.tasks.TaskQueue`."""

import asyncio

from perdure.ports.addresses import TaskKey
from perdure.ports.errors import Conflict
from perdure.ports.tasks import TaskDelivery
from perdure.testing.contracts.support import (
    Seen,
    Stage,
    eventually,
    expect,
    expect_equal,
    expect_error,
    fresh,
    fresh_task,
    run_all,
    suite,
)


async def offers_a_task(stage: Stage) -> None:
    backend = await stage.connect()
    key = TaskKey(fresh("queue: ü"), fresh("order/1"), fresh("run"), 7)
    expect_equal(await backend.tasks.offer(key, b"work"), True, "a new task is queued")
    current = await backend.tasks.current(key)
    expect(
        current is not None and current.data == b"work", "a queued task is its key's current one"
    )
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(key.queue, seen, credit=1)
    delivery = await seen.next("a queued task is offered")
    expect_equal(
        (delivery.key, delivery.message, delivery.attempt),
        (key, current, 1),
        "a delivery says whose task it is and what it is",
    )
    delivery.ack()
    await subscription.close()


async def old_tasks_are_told_apart(stage: Stage) -> None:
    backend = await stage.connect()
    before = fresh_task()
    after = TaskKey(before.queue, before.workflow_id, before.run, before.n + 1)
    await backend.tasks.offer(before, b"work")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(before.queue, seen, credit=2)
    delivery = await seen.next("a queued task is offered")
    expect(delivery.is_old, "a task from before the consumption began is old")
    delivery.ack()
    await backend.tasks.offer(after, b"work")
    delivery = await seen.next("a task is offered to who waits for it")
    expect(not delivery.is_old, "a task from after the consumption began is not old")
    delivery.ack()
    await subscription.close()


async def keys_hold_one_task(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_task()
    await backend.tasks.offer(key, b"first")
    expect_equal(await backend.tasks.offer(key, b"second"), False, "a queued key takes no second")
    other = TaskKey(key.queue, key.workflow_id, key.run, key.n + 1)
    expect_equal(await backend.tasks.offer(other, b"other"), True, "another number is another key")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(key.queue, seen, credit=2)
    deliveries = await seen.take(2, "both tasks are offered")
    expect_equal(await backend.tasks.offer(key, b"third"), False, "a held key takes no second")
    for delivery in deliveries:
        delivery.ack()

    async def is_done() -> bool:
        return await backend.tasks.current(key) is None

    await eventually(is_done, "an acknowledged task is taken out of the queue")
    expect_equal(await backend.tasks.offer(key, b"anew"), True, "then its key is free")
    again = await seen.next("a task offered anew is delivered")
    expect_equal((again.message.data, again.attempt), (b"anew", 1), "it is a new message")
    again.ack()
    await subscription.close()


async def offers_of_one_key_at_once(stage: Stage) -> None:
    backends = [await stage.connect() for _ in range(3)]
    key = fresh_task()
    answers = await asyncio.gather(*(b.tasks.offer(key, b"x") for b in backends))
    expect_equal(
        sorted(answers), [False, False, True], "of offers of one key at once one is queued"
    )


async def offer_dedups_a_word(stage: Stage) -> None:
    backend = await stage.connect()
    key, word = fresh_task(), fresh("word")
    await backend.tasks.offer(key, b"x", dedup=word)
    first = await backend.tasks.current(key)
    await backend.tasks.offer(key, b"x", dedup=word)
    expect_equal(await backend.tasks.current(key), first, "a known word has no effect")
    await backend.tasks.remove(key)
    expect_equal(
        await backend.tasks.offer(key, b"x", dedup=word), True, "a known word is a success"
    )
    expect_equal(await backend.tasks.current(key), None, "a known word has no effect")


async def acknowledged_is_done(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_task()
    await backend.tasks.offer(key, b"x")
    seen: Seen[TaskDelivery] = Seen(lambda delivery: delivery.ack())
    subscription = await backend.tasks.open(key.queue, seen, credit=1)
    await seen.next("a task is offered")
    await seen.nothing("an acknowledged task is not offered again", during=backend.lease * 3 // 2)
    expect_equal(await backend.tasks.current(key), None, "an acknowledged task is done")
    await subscription.close()


async def silent_holder_loses_the_task(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    key = fresh_task()
    await one.tasks.offer(key, b"x")
    held, seen = Seen[TaskDelivery](), Seen[TaskDelivery]()
    first = await one.tasks.open(key.queue, held, credit=1)
    delivery = await held.next("a task is offered")
    second = await other.tasks.open(key.queue, seen, credit=1)
    await first.close()
    await seen.nothing("a held task is not offered elsewhere", during=one.lease // 4)
    again = await seen.next("a task whose holder is silent is offered again after its lease")
    expect_equal((again.key, again.message), (key, delivery.message), "it is the same message")
    expect(again.attempt > 1, f"attempt counts offers: {again.attempt}")
    again.ack()
    await second.close()


async def extend_keeps_the_lease(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_task()
    await backend.tasks.offer(key, b"x")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(key.queue, seen, credit=2)
    delivery = await seen.next("a task is offered")
    for _ in range(6):
        delivery.extend()
        await seen.nothing("an extended task is not offered again", during=backend.lease // 3)
    delivery.ack()
    await subscription.close()


async def nak_delays(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_task()
    await backend.tasks.offer(key, b"x")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(key.queue, seen, credit=1)
    first = await seen.next("a task is offered")
    first.nak()
    again = await seen.next("a refused task is offered again", within=backend.lease * 3 // 4)
    expect_equal(again.attempt, 2, "attempt counts offers of the message")
    # Longer than the lease: a task in backoff belongs to nobody, so no lease may cut it short.
    delay = backend.lease * 3 // 2
    again.nak(delay)
    await seen.nothing("a refused task waits for the delay", during=delay * 3 // 4)
    third = await seen.next("a refused task is offered again after the delay")
    expect_equal(third.attempt, 3, "attempt counts offers of the message")
    third.ack()
    await subscription.close()


async def replace_is_offered_anew(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_task()
    await backend.tasks.offer(key, b"first")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(key.queue, seen, credit=3)
    old = await seen.next("a task is offered")
    seq = await backend.tasks.replace(key, b"second", seq=old.message.seq)
    expect(seq > old.message.seq, "a replacement is a newer message")
    new = await seen.next("a replacement is offered at once", within=backend.lease * 3 // 4)
    expect_equal(
        (new.key, new.message.seq, new.message.data, new.attempt),
        (key, seq, b"second", 1),
        "a replacement is a message of its own",
    )
    expect_equal(await backend.tasks.current(key), new.message, "the replacement is current")
    new.ack()
    await subscription.close()


async def words_of_the_replaced_are_harmless(stage: Stage) -> None:
    backend = await stage.connect()
    for word in ("ack", "nak", "extend"):
        key = fresh_task()
        await backend.tasks.offer(key, b"first")
        seen: Seen[TaskDelivery] = Seen()
        subscription = await backend.tasks.open(key.queue, seen, credit=3)
        old = await seen.next("a task is offered")
        seq = await backend.tasks.replace(key, b"second", seq=old.message.seq)
        new = await seen.next("a replacement is offered")
        getattr(old, word)()
        await seen.nothing(f"a late {word} offers nothing", during=backend.lease // 3)
        current = await backend.tasks.current(key)
        expect_equal(current and current.seq, seq, f"a late {word} leaves the replacement queued")
        new.ack()
        await seen.nothing(
            f"after a late {word} the old one is gone", during=backend.lease * 3 // 2
        )
        await subscription.close()


async def replace_refuses_another_message(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh_task()
    promise = "replacing a message that isn't there is a Conflict"
    await expect_error(Conflict, backend.tasks.replace(key, b"x", seq=5), promise)
    first = await backend.tasks.replace(key, b"first", seq=0)
    promise = "replacing nothing is a Conflict when there is a message"
    await expect_error(Conflict, backend.tasks.replace(key, b"x", seq=0), promise)
    second = await backend.tasks.replace(key, b"second", seq=first)
    promise = "replacing a replaced message is a Conflict"
    await expect_error(Conflict, backend.tasks.replace(key, b"x", seq=first), promise)
    current = await backend.tasks.current(key)
    expect_equal(
        current and (current.seq, current.data), (second, b"second"), "a Conflict leaves it alone"
    )
    await backend.tasks.remove(key)
    promise = "replacing a removed message is a Conflict"
    await expect_error(Conflict, backend.tasks.replace(key, b"x", seq=second), promise)
    expect_equal(await backend.tasks.current(key), None, "a Conflict queues nothing")


async def replacements_at_once(stage: Stage) -> None:
    backends = [await stage.connect() for _ in range(3)]
    key = fresh_task()
    seq = await backends[0].tasks.replace(key, b"first", seq=0)
    answers = await asyncio.gather(
        *(b.tasks.replace(key, b"%d" % i, seq=seq) for i, b in enumerate(backends)),
        return_exceptions=True,
    )
    won = [answer for answer in answers if isinstance(answer, int)]
    lost = [answer for answer in answers if isinstance(answer, Conflict)]
    expect_equal((len(won), len(lost)), (1, 2), f"of replacements at once one wins: {answers}")
    current = await backends[1].tasks.current(key)
    expect_equal(current and current.seq, won[0], "the winner is current")


async def remove_drops_the_task(stage: Stage) -> None:
    backend = await stage.connect()
    waiting, held = fresh_task(), fresh_task()
    await backend.tasks.remove(waiting)
    await backend.tasks.offer(waiting, b"x")
    await backend.tasks.remove(waiting)
    await backend.tasks.remove(waiting)
    expect_equal(await backend.tasks.current(waiting), None, "a removed task is gone")
    await backend.tasks.offer(held, b"x")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(held.queue, seen, credit=1)
    delivery = await seen.next("a task is offered")
    await backend.tasks.remove(held)
    expect_equal(await backend.tasks.current(held), None, "a removed task is gone, held or not")
    delivery.nak()
    await seen.nothing("a removed task is not offered again", during=backend.lease * 3 // 2)
    await subscription.close()


async def other_tasks_stay_held(stage: Stage) -> None:
    """Replacing or removing a held task, and settling the next: what is held before is not lost."""
    one, other = await stage.connect(), await stage.connect()
    queue = fresh("queue")
    for _ in range(8):
        await one.tasks.offer(fresh_task(queue), b"x")
    held, seen = Seen[TaskDelivery](), Seen[TaskDelivery]()
    first = await one.tasks.open(queue, held, credit=8)
    deliveries = await held.take(8, "an opener is offered as much as it has credit")
    *left, replaced, settled, removed, last = sorted(deliveries, key=lambda d: d.message.seq)
    await first.close()
    await one.tasks.replace(replaced.key, b"anew", seq=replaced.message.seq)
    replaced.ack()
    settled.ack()
    await one.tasks.remove(removed.key)
    last.ack()
    second = await other.tasks.open(queue, seen, credit=8)
    again = await seen.take(5, "tasks whose holder is silent are offered again after their lease")
    wanted = {delivery.key for delivery in (*left, replaced)}
    expect_equal({delivery.key for delivery in again}, wanted, "no held task is forgotten")
    for delivery in again:
        delivery.ack()
    await second.close()


async def openers_share_by_credit(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    queue = fresh("queue")
    busy, free = Seen[TaskDelivery](), Seen[TaskDelivery]()
    first = await one.tasks.open(queue, busy, credit=1)
    second = await other.tasks.open(queue, free, credit=3)
    for _ in range(4):
        await one.tasks.offer(fresh_task(queue), b"x")
    taken = await busy.take(1, "an opener is offered as much as it has credit")
    taken += await free.take(3, "an opener is offered as much as it has credit")
    expect_equal(len({d.key for d in taken}), 4, "a task is offered to one opener")
    last = fresh_task(queue)
    await one.tasks.offer(last, b"x")
    await busy.nothing("no more than the credit is offered", during=one.lease // 6)
    await free.nothing("no more than the credit is offered", during=one.lease // 6)
    taken[0].ack()
    delivery = await busy.next("a settled task makes room for the next")
    expect_equal(delivery.key, last, "a settled task makes room for the next")
    for held in (*taken[1:], delivery):
        held.ack()
    await first.close()
    await second.close()


async def backlog_counts_the_waiting(stage: Stage) -> None:
    backend = await stage.connect()
    queue = fresh("queue")
    expect_equal(await backend.tasks.backlog(queue), 0, "an unknown queue is empty")
    keys = [fresh_task(queue) for _ in range(3)]
    for key in keys:
        await backend.tasks.offer(key, b"x")
    await backend.tasks.offer(fresh_task(), b"another queue")

    async def three_wait() -> bool:
        return await backend.tasks.backlog(queue) == 3

    await eventually(three_wait, "queued tasks that nobody holds are the backlog")
    seen: Seen[TaskDelivery] = Seen()
    subscription = await backend.tasks.open(queue, seen, credit=1)
    delivery = await seen.next("a task is offered")
    for _ in range(2):
        delivery.ack()
        delivery = await seen.next("a settled task makes room for the next")

    async def none_wait() -> bool:
        return await backend.tasks.backlog(queue) == 0

    await eventually(none_wait, "a held task does not wait")
    delivery.ack()
    await subscription.close()


async def closed_openers_leave_tasks(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    queue = fresh("queue")
    held, seen = Seen[TaskDelivery](), Seen[TaskDelivery]()
    first = await one.tasks.open(queue, held, credit=1)
    for _ in range(2):
        await one.tasks.offer(fresh_task(queue), b"x")
    delivery = await held.next("a task is offered")
    await first.close()
    await first.close()
    delivery.ack()
    second = await other.tasks.open(queue, seen, credit=2)
    rest = await seen.next("what was not handed over goes to others at once", within=one.lease // 2)
    expect(rest.key != delivery.key, "what was handed over can still be settled after close")
    rest.ack()
    await seen.nothing("all is settled", during=one.lease * 3 // 2)
    await second.close()


TASK_QUEUE = suite(
    offers_a_task,
    old_tasks_are_told_apart,
    keys_hold_one_task,
    offers_of_one_key_at_once,
    offer_dedups_a_word,
    acknowledged_is_done,
    silent_holder_loses_the_task,
    extend_keeps_the_lease,
    nak_delays,
    replace_is_offered_anew,
    words_of_the_replaced_are_harmless,
    replace_refuses_another_message,
    replacements_at_once,
    remove_drops_the_task,
    other_tasks_stay_held,
    openers_share_by_credit,
    backlog_counts_the_waiting,
    closed_openers_leave_tasks,
)


async def check_task_queue(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(TASK_QUEUE, stage)
