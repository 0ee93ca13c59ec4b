"""The contracts of :mod:`perdure.ports.outlets`: dead letters, announcements, replies."""

from collections.abc import Mapping

from perdure.testing.contracts.support import (
    Seen,
    Stage,
    collect,
    eventually,
    expect,
    expect_equal,
    fresh,
    run_all,
    suite,
)

KINDS = ("activity", "signal", "start", "cancel", "event")


async def letters_wait_in_order(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    before = await collect(one.dead_letters.scan())
    newest = max((letter.seq for letter in before), default=0)
    for kind in KINDS:
        await one.dead_letters.put(kind, fresh("order: ü"), kind.encode(), dedup=fresh("letter"))
    letters = await collect(other.dead_letters.scan(newest))
    expect_equal([x.data for x in letters], [k.encode() for k in KINDS], "letters, oldest first")
    seqs = [x.seq for x in letters]
    expect(seqs == sorted(set(seqs)), f"sequences grow: {seqs}")
    later = await collect(other.dead_letters.scan(seqs[2]))
    expect_equal([x.seq for x in later], seqs[3:], "a scan begins above the sequence given")


async def letters_are_deduped(stage: Stage) -> None:
    backend = await stage.connect()
    workflow, word = fresh("order"), fresh("letter")
    for _ in range(2):
        await backend.dead_letters.put("signal", workflow, word.encode(), dedup=word)
    await backend.dead_letters.put("signal", workflow, word.encode(), dedup=fresh("letter"))
    letters = [x for x in await collect(backend.dead_letters.scan()) if x.data == word.encode()]
    expect_equal(len(letters), 2, "a letter of a known word is one letter")


async def removed_letters_are_gone(stage: Stage) -> None:
    backend = await stage.connect()
    data = [fresh("letter").encode() for _ in range(3)]
    for letter in data:
        await backend.dead_letters.put("event", fresh("order"), letter, dedup=letter.decode())
    letters = [x for x in await collect(backend.dead_letters.scan()) if x.data in data]
    await backend.dead_letters.remove(letters[1].seq)
    await backend.dead_letters.remove(letters[1].seq)
    left = [x.data for x in await collect(backend.dead_letters.scan()) if x.data in data]
    expect_equal(left, [data[0], data[2]], "a removed letter is gone, others stay")


DEAD_LETTERS = suite(letters_wait_in_order, letters_are_deduped, removed_letters_are_gone)


async def check_dead_letters(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(DEAD_LETTERS, stage)


async def announcements_reach_others(stage: Stage) -> None:
    backend = await stage.connect()
    data = [fresh("event").encode() for _ in range(3)]
    for event in data:
        workflow = fresh("order: ü")
        for _ in range(2):
            await backend.announcements.announce(
                "OrderWorkflow", workflow, event, dedup=event.decode()
            )

    async def all_came() -> bool:
        return [event for event in await stage.announced() if event in data] == data

    await eventually(all_came, "announcements can be read in order, each word once")


ANNOUNCEMENTS = suite(announcements_reach_others)


async def check_announcements(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(ANNOUNCEMENTS, stage)


async def replies_reach_who_asked(stage: Stage) -> None:
    backend = await stage.connect()
    seen: Seen[tuple[bytes, Mapping[str, str]]] = Seen()
    address = f"_INBOX.{fresh('reply')}.1"
    subscription = await stage.on_reply(address, lambda data, headers: seen((data, headers)))
    await backend.replies.reply(f"_INBOX.{fresh('nobody')}", b"to nobody")
    await backend.replies.reply(address, b"plain")
    data, _ = await seen.next("a reply reaches its subject")
    expect_equal(data, b"plain", "a reply reaches its subject")
    await backend.replies.reply(address, b"more", {"traceparent": "00-1-2-01"})
    data, headers = await seen.next("a reply reaches its subject")
    expect_equal(
        (data, headers.get("traceparent")), (b"more", "00-1-2-01"), "a reply brings its headers"
    )
    await subscription.close()


REPLIES = suite(replies_reach_who_asked)


async def check_replies(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(REPLIES, stage)
