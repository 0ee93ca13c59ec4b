"""The contract of :class:`perdure.ports.messages.Messages`."""

import asyncio

from perdure.core.durations import SECOND
from perdure.ports.errors import Unavailable
from perdure.testing.contracts.support import (
    PATIENCE,
    Seen,
    Stage,
    expect,
    expect_equal,
    expect_error,
    fresh,
    run_all,
    suite,
)


async def questions_are_answered(stage: Stage) -> None:
    asker, owner = await stage.connect(), await stage.connect()
    topic = ("query", fresh("any queue: ü."), "17")

    async def shout(data: bytes) -> bytes:
        await asyncio.sleep(0)
        return data.upper()

    subscription = await owner.messages.answer(topic, shout)
    answers = await asyncio.gather(
        *(asker.messages.ask(topic, word, timeout=PATIENCE) for word in (b"a", b"", b"c"))
    )
    expect_equal(answers, [b"A", b"", b"C"], "each question gets its own answer")
    await subscription.close()
    await subscription.close()
    promise = "nobody answers once the subscription is closed"
    await expect_error(Unavailable, asker.messages.ask(topic, b"x", timeout=SECOND), promise)


async def nobody_answers(stage: Stage) -> None:
    asker = await stage.connect()
    promise = "a question that nobody answers is Unavailable"
    call = asker.messages.ask(("query", fresh("queue")), b"x", timeout=PATIENCE)
    await expect_error(Unavailable, call, promise)


async def late_answers_do_not_count(stage: Stage) -> None:
    asker, owner = await stage.connect(), await stage.connect()
    topic = ("query", fresh("queue"))
    released = asyncio.Event()

    async def dawdle(data: bytes) -> bytes:
        await released.wait()
        return data

    subscription = await owner.messages.answer(topic, dawdle)
    promise = "a question not answered in time is Unavailable"
    await expect_error(Unavailable, asker.messages.ask(topic, b"x", timeout=SECOND // 4), promise)
    released.set()
    answer = await asker.messages.ask(topic, b"y", timeout=PATIENCE)
    expect_equal(answer, b"y", "a late answer is not taken for the next question's")
    await subscription.close()


async def one_of_many_answers(stage: Stage) -> None:
    asker, one, other = [await stage.connect() for _ in range(3)]
    topic = ("query", fresh("queue"))
    asked: list[bytes] = []

    async def answer(data: bytes) -> bytes:
        asked.append(data)
        return data

    subscriptions = [await b.messages.answer(topic, answer) for b in (one, other)]
    for i in range(4):
        await asker.messages.ask(topic, b"%d" % i, timeout=PATIENCE)
    expect_equal(asked, [b"0", b"1", b"2", b"3"], "a question goes to one of those who answer")
    for subscription in subscriptions:
        await subscription.close()


async def told_to_all_who_listen(stage: Stage) -> None:
    teller, one, other = [await stage.connect() for _ in range(3)]
    topic, elsewhere = ("cancel", fresh("queue")), ("cancel", fresh("queue"))
    await teller.messages.tell(topic, b"to nobody")
    # A word is not waited for; an answer from the store on the same way proves that it is gone.
    await teller.members.list(("nobody",))
    first, second = Seen[bytes](), Seen[bytes]()
    subscriptions = [
        await one.messages.listen(topic, first),
        await other.messages.listen(topic, second),
    ]
    await teller.messages.tell(elsewhere, b"another topic")
    await teller.messages.tell(topic, b"word")
    for seen in (first, second):
        expect_equal(await seen.next("a word reaches all who listen"), b"word", "as it was told")
    await subscriptions[0].close()
    await subscriptions[0].close()
    await teller.messages.tell(topic, b"later")
    expect_equal(await second.next("a word reaches who still listens"), b"later", "as it was told")
    expect(first.items == [b"word"], "whoever closed hears nothing more")
    await subscriptions[1].close()


MESSAGES = suite(
    questions_are_answered,
    nobody_answers,
    late_answers_do_not_count,
    one_of_many_answers,
    told_to_all_who_listen,
)


async def check_messages(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(MESSAGES, stage)
