"""The contract of :class:`perdure.ports.state.StateStore`."""

import asyncio

from perdure.core.durations import SECOND
from perdure.ports.errors import AlreadyExists, Conflict
from perdure.testing.contracts.support import (
    Seen,
    Stage,
    collect,
    eventually,
    expect,
    expect_equal,
    expect_error,
    fresh,
    run_all,
    suite,
)


async def create_once(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    for key in (fresh("order"), fresh("any text: ü / . * > =")):
        expect_equal(await one.state.read(key), None, "no entry before it is created")
        revision = await one.state.create(key, b"starting")
        expect_equal(
            await other.state.read(key), (b"starting", revision), "what is created can be read"
        )
        promise = "creating an entry that is there is refused"
        await expect_error(AlreadyExists, other.state.create(key, b"again"), promise)
        expect_equal(await one.state.read(key), (b"starting", revision), "and changes nothing")


async def create_at_once(stage: Stage) -> None:
    backends = [await stage.connect() for _ in range(4)]
    key = fresh("order")
    answers = await asyncio.gather(
        *(b.state.create(key, b"%d" % i) for i, b in enumerate(backends)), return_exceptions=True
    )
    won = [(i, answer) for i, answer in enumerate(answers) if isinstance(answer, int)]
    lost = [answer for answer in answers if isinstance(answer, AlreadyExists)]
    expect_equal((len(won), len(lost)), (1, 3), f"of four creates at once one wins: {answers}")
    [(winner, revision)] = won
    expect_equal(
        await backends[0].state.read(key), (b"%d" % winner, revision), "the winner's stays"
    )


async def update_by_revision(stage: Stage) -> None:
    backend = await stage.connect()
    key = fresh("order")
    promise = "updating an entry that isn't there is a Conflict"
    await expect_error(Conflict, backend.state.update(key, b"x", revision=1_000_000), promise)
    first = await backend.state.create(key, b"1")
    second = await backend.state.update(key, b"2", revision=first)
    expect(second > first, "revisions grow")
    promise = "updating an older revision is a Conflict"
    await expect_error(Conflict, backend.state.update(key, b"3", revision=first), promise)
    promise = "updating a revision that isn't yet is a Conflict"
    await expect_error(Conflict, backend.state.update(key, b"3", revision=second + 5), promise)
    expect_equal(await backend.state.read(key), (b"2", second), "a Conflict changes nothing")


async def update_at_once(stage: Stage) -> None:
    backends = [await stage.connect() for _ in range(3)]
    key = fresh("order")
    revision = await backends[0].state.create(key, b"0")
    for _ in range(5):
        answers = await asyncio.gather(
            *(b.state.update(key, b"%d" % i, revision=revision) for i, b in enumerate(backends)),
            return_exceptions=True,
        )
        won = [answer for answer in answers if isinstance(answer, int)]
        lost = [answer for answer in answers if isinstance(answer, Conflict)]
        expect_equal((len(won), len(lost)), (1, 2), f"of updates at once one wins: {answers}")
        revision = won[0]


async def read_is_linearizable(stage: Stage) -> None:
    writer, reader = await stage.connect(), await stage.connect()
    key = fresh("order")
    revision = await writer.state.create(key, b"0")
    for turn in range(20):
        data = b"%d" % turn
        revision = await writer.state.update(key, data, revision=revision)
        expect_equal(await reader.state.read(key), (data, revision), "a read sees the last write")


async def expired_is_none(stage: Stage) -> None:
    backend = await stage.connect()
    key, kept = fresh("order"), fresh("order")
    kept_revision = await backend.state.create(kept, b"kept")
    revision = await backend.state.create(key, b"running")
    closed = await backend.state.update(key, b"closed", revision=revision, ttl=2 * SECOND)
    expect_equal(await backend.state.read(key), (b"closed", closed), "an entry lives for its ttl")

    async def is_gone() -> bool:
        return await backend.state.read(key) is None

    await eventually(is_gone, "an entry with a ttl vanishes after it")
    found = await collect(backend.state.scan())
    expect((b"closed", closed) not in found, "an expired entry leaves nothing to scan")
    promise = "updating an expired entry is a Conflict"
    await expect_error(Conflict, backend.state.update(key, b"x", revision=closed), promise)
    again = await backend.state.create(key, b"a new life")
    expect(again > closed, "revisions grow beyond an expired entry's")
    expect_equal(await backend.state.read(key), (b"a new life", again), "an expired entry is none")
    expect_equal(await backend.state.read(kept), (b"kept", kept_revision), "others stay")


async def later_update_ends_the_ttl(stage: Stage) -> None:
    backend = await stage.connect()
    key, witness = fresh("order"), fresh("order")
    revision = await backend.state.create(key, b"1")
    revision = await backend.state.update(key, b"2", revision=revision, ttl=2 * SECOND)
    revision = await backend.state.update(key, b"3", revision=revision)
    other = await backend.state.create(witness, b"1")
    await backend.state.update(witness, b"2", revision=other, ttl=3 * SECOND)

    async def witness_is_gone() -> bool:
        return await backend.state.read(witness) is None

    await eventually(witness_is_gone, "an entry with a ttl vanishes after it")
    expect_equal(
        await backend.state.read(key), (b"3", revision), "an entry written without ttl stays"
    )


async def watch_calls_back(stage: Stage) -> None:
    watcher, writer = await stage.connect(), await stage.connect()
    key, other = fresh("order"), fresh("order")
    revision = await writer.state.create(key, b"before the watch")
    seen: Seen[bytes] = Seen()
    subscription = await watcher.state.watch(key, seen)
    await watcher.state.read(key)
    await writer.state.create(other, b"another id")
    for data in (b"1", b"2"):
        revision = await writer.state.update(key, data, revision=revision)
        expect_equal(await seen.next("a watcher hears of a write"), data, "it gets the entry")
    await subscription.close()
    await subscription.close()
    await writer.state.update(key, b"3", revision=revision)
    await seen.nothing("a closed watch hears nothing", during=SECOND // 2)


async def watch_before_create(stage: Stage) -> None:
    watcher, writer = await stage.connect(), await stage.connect()
    key = fresh("order: ü")
    seen: Seen[bytes] = Seen()
    subscription = await watcher.state.watch(key, seen)
    await watcher.state.read(key)
    await writer.state.create(key, b"created")
    expect_equal(await seen.next("a watcher hears of the creation"), b"created", "with the entry")
    await subscription.close()


async def scan_gives_all(stage: Stage) -> None:
    backend = await stage.connect()
    expected: set[tuple[bytes, int]] = set()
    for i in range(30):
        key, data = fresh("order"), fresh("entry").encode()
        revision = await backend.state.create(key, b"first" if i % 3 == 0 else data)
        if i % 3 == 0:
            revision = await backend.state.update(key, data, revision=revision)
        expected.add((data, revision))
    found = await collect(backend.state.scan())
    expect(expected <= set(found), "a scan gives every entry and its revision")
    expect_equal(len(found), len(set(found)), "a scan gives each entry once")


STATE_STORE = suite(
    create_once,
    create_at_once,
    update_by_revision,
    update_at_once,
    read_is_linearizable,
    expired_is_none,
    later_update_ends_the_ttl,
    watch_calls_back,
    watch_before_create,
    scan_gives_all,
)


async def check_state_store(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(STATE_STORE, stage)
