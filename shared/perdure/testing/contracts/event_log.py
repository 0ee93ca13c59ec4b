"""The contract of :class:`perdure.ports.log.EventLog`."""

import asyncio

from perdure.ports.addresses import Lane
from perdure.ports.errors import Conflict
from perdure.testing.contracts.support import (
    Stage,
    expect,
    expect_equal,
    expect_error,
    fresh,
    fresh_address,
    run_all,
    suite,
)


async def append_returns_growing_sequences(stage: Stage) -> None:
    log = (await stage.connect()).log
    one, other = fresh_address(), fresh_address()
    seqs = [
        await log.append(one, Lane.EXTERNAL, b"1"),
        await log.append(other, Lane.ENGINE, b"2"),
        await log.append(one, Lane.ENGINE, b"3"),
        await log.commit(one, b"4", after=0),
    ]
    expect(seqs[0] > 0, "sequences begin above 0")
    expect(seqs == sorted(set(seqs)), f"one sequence grows over all subjects of the log: {seqs}")


async def append_keeps_the_bytes(stage: Stage) -> None:
    backend = await stage.connect()
    address = fresh_address()
    for data in (b"", b"\x00\xff\r\n", b"x" * backend.max_message):
        seq = await backend.log.append(address, Lane.ENGINE, data)
        [stored] = await backend.log.read([seq])
        expect(stored is not None, "an acknowledged append can be read")
        expect(stored is not None and stored.data == data, f"{len(data)} bytes come back as given")
        expect_equal(stored and stored.seq, seq, "a message knows its sequence")


async def append_dedups_a_word(stage: Stage) -> None:
    log = (await stage.connect()).log
    address, word = fresh_address(), fresh("word")
    first = await log.append(address, Lane.EXTERNAL, b"first", dedup=word)
    again = await log.append(address, Lane.EXTERNAL, b"again", dedup=word)
    expect_equal(again, first, "an append of a known word returns the first one's sequence")
    await log.append(address, Lane.EXTERNAL, b"other", dedup=fresh("word"))
    await log.append(address, Lane.EXTERNAL, b"plain")
    await log.append(address, Lane.EXTERNAL, b"plain")
    kept = [stored.data for stored in await log.following(address, Lane.EXTERNAL, 0)]
    expect_equal(
        kept, [b"first", b"other", b"plain", b"plain"], "only appends of the same word are one"
    )


async def words_belong_to_one_lane(stage: Stage) -> None:
    log = (await stage.connect()).log
    one, other, word = fresh_address(), fresh_address(), fresh("word")
    places = [(one, Lane.EXTERNAL), (one, Lane.ENGINE), (other, Lane.ENGINE)]
    for _ in range(2):
        for address, lane in places:
            await log.append(address, lane, b"x", dedup=word)
    counts = [len(await log.following(address, lane, 0)) for address, lane in places]
    expect_equal(counts, [1, 1, 1], "a word on another lane or workflow is another word")


async def append_dedups_across_processes(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    address, word = fresh_address(), fresh("word")
    seqs = await asyncio.gather(
        *(b.log.append(address, Lane.ENGINE, b"x", dedup=word) for b in (one, other, one, other))
    )
    expect_equal(len(set(seqs)), 1, f"appends of one word at once are one message: {seqs}")
    kept = await one.log.following(address, Lane.ENGINE, 0)
    expect_equal(len(kept), 1, "appends of one word at once leave one message")


async def commit_follows_the_tip(stage: Stage) -> None:
    log = (await stage.connect()).log
    address = fresh_address()
    first = await log.commit(address, b"1", after=0)
    await log.append(address, Lane.ENGINE, b"an event between")
    second = await log.commit(address, b"2", after=first)
    expect(second > first, "commits grow")
    tip = await log.tip(address)
    expect(tip is not None and (tip.seq, tip.data) == (second, b"2"), "the tip is the last commit")


async def commit_refuses_another_tip(stage: Stage) -> None:
    log = (await stage.connect()).log
    address = fresh_address()
    first = await log.commit(address, b"1", after=0)
    second = await log.commit(address, b"2", after=first)
    for after in (0, first, second + 1):
        promise = f"commit after {after} is a Conflict when the newest is {second}"
        await expect_error(Conflict, log.commit(address, b"x", after=after), promise)
    tip = await log.tip(address)
    expect_equal(tip and tip.seq, second, "a commit that lost leaves nothing")
    empty = fresh_address()
    promise = "commit after a sequence is a Conflict when there is no history"
    await expect_error(Conflict, log.commit(empty, b"x", after=second), promise)
    expect_equal(await log.tip(empty), None, "a commit that lost leaves nothing")


async def commit_is_exact_under_concurrency(stage: Stage) -> None:
    backends = [await stage.connect() for _ in range(3)]
    address, after = fresh_address(), 0
    for turn in range(5):
        answers = await asyncio.gather(
            *(
                b.log.commit(address, f"{turn} {i}".encode(), after=after)
                for i, b in enumerate(backends)
            ),
            return_exceptions=True,
        )
        won = [answer for answer in answers if isinstance(answer, int)]
        lost = [answer for answer in answers if isinstance(answer, Conflict)]
        expect_equal((len(won), len(lost)), (1, 2), f"of three commits at once one wins: {answers}")
        tip = await backends[turn % 3].log.tip(address)
        expect_equal(tip and tip.seq, won[0], "the tip is the commit that won")
        after = won[0]


async def commits_of_workflows_are_apart(stage: Stage) -> None:
    log = (await stage.connect()).log
    one, other = fresh_address(), fresh_address()
    await log.commit(one, b"one", after=0)
    await log.commit(other, b"other", after=0)
    tips = [await log.tip(one), await log.tip(other)]
    expect_equal([tip and tip.data for tip in tips], [b"one", b"other"], "histories are apart")


async def tip_is_linearizable(stage: Stage) -> None:
    writer, reader = await stage.connect(), await stage.connect()
    address, after = fresh_address(), 0
    expect_equal(await reader.log.tip(address), None, "no history, no tip")
    for turn in range(20):
        after = await writer.log.commit(address, b"%d" % turn, after=after)
        tip = await reader.log.tip(address)
        expect_equal(tip and tip.seq, after, "the tip is never older than an acknowledged commit")


async def read_answers_in_the_order_asked(stage: Stage) -> None:
    log = (await stage.connect()).log
    address = fresh_address()
    seqs = [await log.append(address, Lane.ENGINE, b"%d" % i) for i in range(40)]
    expect_equal(await log.read([]), [], "nothing asked, nothing read")
    asked = [*reversed(seqs), seqs[3], seqs[-1] + 1_000]
    found = await log.read(asked)
    expected = [b"%d" % i for i in reversed(range(40))] + [b"3", None]
    expect_equal(
        [stored and stored.data for stored in found],
        expected,
        "read gives each sequence's message, in the order asked, None for what isn't there",
    )


async def following_reads_one_lane_in_order(stage: Stage) -> None:
    log = (await stage.connect()).log
    address, other = fresh_address(), fresh_address()
    seqs: list[int] = []
    for i in range(6):
        seqs.append(await log.append(address, Lane.EXTERNAL, b"%d" % i))
        await log.append(address, Lane.ENGINE, b"another lane")
        await log.append(other, Lane.EXTERNAL, b"another workflow")
    found = await log.following(address, Lane.EXTERNAL, 0)
    expect_equal([s.seq for s in found], seqs, "following gives all of the lane, oldest first")
    found = await log.following(address, Lane.EXTERNAL, seqs[1])
    expect_equal([s.seq for s in found], seqs[2:], "following begins above the sequence given")
    found = await log.following(address, Lane.EXTERNAL, seqs[0], limit=2)
    expect_equal([s.seq for s in found], seqs[1:3], "following gives the oldest `limit`")
    found = await log.following(address, Lane.EXTERNAL, seqs[-1])
    expect_equal(found, [], "nothing follows the newest")


async def following_holds_all_acknowledged(stage: Stage) -> None:
    writer, reader = await stage.connect(), await stage.connect()
    address = fresh_address()
    for count in range(1, 11):
        await writer.log.append(address, Lane.EXTERNAL, b"x")
        found = await reader.log.following(address, Lane.EXTERNAL, 0)
        expect_equal(
            len(found), count, "following holds every message acknowledged before the call"
        )


async def following_reads_history(stage: Stage) -> None:
    log = (await stage.connect()).log
    address, after = fresh_address(), 0
    for turn in range(3):
        after = await log.commit(address, b"%d" % turn, after=after)
    found = await log.following(address, Lane.HISTORY, 0)
    expect_equal([s.data for s in found], [b"0", b"1", b"2"], "following reads HISTORY too")


async def timestamps_follow_the_log(stage: Stage) -> None:
    log = (await stage.connect()).log
    address = fresh_address()
    seqs = [await log.append(address, Lane.ENGINE, b"x") for _ in range(5)]
    stored = [s for s in await log.read(seqs) if s is not None]
    times = [s.timestamp for s in stored]
    expect(times == sorted(times), f"on one server stream time doesn't step back: {times}")
    expect(times[0] > 10**18, f"stream time counts nanoseconds since 1970: {times[0]}")


async def purge_forgets_up_to_a_sequence(stage: Stage) -> None:
    log = (await stage.connect()).log
    address, other = fresh_address(), fresh_address()
    kept_other = await log.append(other, Lane.ENGINE, b"another workflow")
    gone = [
        await log.append(address, Lane.EXTERNAL, b"a"),
        await log.append(address, Lane.ENGINE, b"b"),
        await log.commit(address, b"c", after=0),
    ]
    kept = [await log.append(address, lane, b"kept") for lane in (Lane.EXTERNAL, Lane.ENGINE)]
    await log.purge(address, gone[-1])
    found = await log.read([*gone, *kept, kept_other])
    expect_equal(
        [s and s.seq for s in found],
        [None, None, None, *kept, kept_other],
        "purge forgets all lanes up to and including the sequence, and nothing else",
    )
    expect_equal(await log.tip(address), None, "a purged history has no tip")
    await log.purge(address, gone[-1])
    again = await log.commit(address, b"a new life", after=0)
    expect(again > kept[-1], "a re-used id begins anew, on the growing sequence")


EVENT_LOG = suite(
    append_returns_growing_sequences,
    append_keeps_the_bytes,
    append_dedups_a_word,
    words_belong_to_one_lane,
    append_dedups_across_processes,
    commit_follows_the_tip,
    commit_refuses_another_tip,
    commit_is_exact_under_concurrency,
    commits_of_workflows_are_apart,
    tip_is_linearizable,
    read_answers_in_the_order_asked,
    following_reads_one_lane_in_order,
    following_holds_all_acknowledged,
    following_reads_history,
    timestamps_follow_the_log,
    purge_forgets_up_to_a_sequence,
)


async def check_event_log(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(EVENT_LOG, stage)
