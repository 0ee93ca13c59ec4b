"""STATE, members, announcements, dead letters, replies and messages on a real server."""

import asyncio
from pathlib import Path

import pytest
from support.jetstream_namespace import Namespace, connected, namespace

from perdure.adapters.jetstream.members import JetStreamMembers
from perdure.adapters.jetstream.messages import JetStreamMessages
from perdure.adapters.jetstream.outlets import (
    JetStreamAnnouncements,
    JetStreamDeadLetters,
    JetStreamReplies,
    ReplyRefused,
)
from perdure.adapters.jetstream.state import JetStreamState
from perdure.core.durations import SECOND
from perdure.ports.errors import AlreadyExists, Conflict, Unavailable

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


async def gone(ns: Namespace, subject: str, stream: str) -> None:
    """Return once the server has dropped the message of a subject."""
    async with asyncio.timeout(20):
        while True:
            if await ns.link.last_message(stream, subject, leader=True) is None:
                return
            await asyncio.sleep(0.05)


async def test_state_is_a_compare_and_set_store(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        assert await state.read("order:1/ä") is None
        first = await state.create("order:1/ä", b"one")
        assert await state.read("order:1/ä") == (b"one", first)
        with pytest.raises(AlreadyExists):
            await state.create("order:1/ä", b"again")
        second = await state.update("order:1/ä", b"two", revision=first)
        assert second > first
        for wrong in (first, 0, second + 1):
            with pytest.raises(Conflict):
                await state.update("order:1/ä", b"three", revision=wrong)
        assert await state.read("order:1/ä") == (b"two", second)


async def test_one_of_many_creators_wins(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        results = await asyncio.gather(
            *(state.create("wf", b"%d" % n) for n in range(20)), return_exceptions=True
        )
        won = [n for n, result in enumerate(results) if isinstance(result, int)]
        assert len(won) == 1
        assert sum(isinstance(result, AlreadyExists) for result in results) == 19
        entry = await state.read("wf")
        assert entry is not None
        assert entry[0] == b"%d" % won[0]


async def test_an_expired_entry_leaves_nothing_and_its_id_is_free(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        revision = await state.create("wf", b"running")
        await state.update("wf", b"closed", revision=revision, ttl=SECOND)
        await gone(ns, ns.subjects.state_key("wf"), ns.subjects.state_stream)
        assert await state.read("wf") is None
        assert [entry async for entry in state.scan()] == []
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.state_stream}")
        assert info["state"]["messages"] == 0
        assert await state.create("wf", b"new") > revision


async def test_an_update_without_ttl_outlives_an_earlier_ttl(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        one = await state.create("wf", b"closed")
        two = await state.update("wf", b"closed", revision=one, ttl=SECOND)
        three = await state.update("wf", b"reused", revision=two)
        other = await state.create("other", b"")
        await state.update("other", b"", revision=other, ttl=2 * SECOND)
        await gone(ns, ns.subjects.state_key("other"), ns.subjects.state_stream)
        assert await state.read("wf") == (b"reused", three)


async def test_an_id_that_a_tool_deleted_is_free(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        await state.create("wf", b"one")
        await ns.link.publish(ns.subjects.state_key("wf"), b"", {"KV-Operation": "DEL"})
        assert await state.read("wf") is None
        assert [entry async for entry in state.scan()] == []
        revision = await state.create("wf", b"two")
        assert await state.read("wf") == (b"two", revision)


async def test_watchers_hear_of_each_write(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        watching = await state.watch("order:1", heard.put_nowait)
        other = await state.create("another", b"not mine")
        revision = await state.create("order:1", b"one")
        await state.update("order:1", b"two", revision=revision)
        async with asyncio.timeout(10):
            assert [await heard.get(), await heard.get()] == [b"one", b"two"]
        await watching.close()
        await watching.close()
        await state.update("another", b"", revision=other)
        assert heard.empty()


async def test_a_scan_of_many_pages_sees_all(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        state = JetStreamState(ns.link, ns.subjects)
        many = 2_500
        await asyncio.gather(*(state.create(f"wf-{n}", b"%d" % n) for n in range(many)))
        found = [entry async for entry in state.scan()]
        assert {data for data, _ in found} == {b"%d" % n for n in range(many)}
        assert len({revision for _, revision in found}) == many


async def test_members_come_and_go(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        members = JetStreamMembers(ns.link, ns.subjects)
        group = ("scheduler", "my queue")
        await members.beat(group, "a:1", b"first", ttl=60 * SECOND)
        await members.beat(group, "a:1", b"second", ttl=60 * SECOND)
        await members.beat(group, "b", b"b", ttl=SECOND)
        await members.beat(("scheduler", "other"), "c", b"c", ttl=60 * SECOND)
        await members.beat(("worker", "other"), "d", b"d", ttl=60 * SECOND)
        found = await members.list(("scheduler",))
        assert found == {"my queue/a:1": b"second", "my queue/b": b"b", "other/c": b"c"}
        await gone(ns, ns.subjects.member_key(group, "b"), ns.subjects.members_stream)
        assert await members.list(group) == {"a:1": b"second"}
        await members.leave(group, "a:1")
        assert await members.list(group) == {}
        await members.beat(group, "a:1", b"back", ttl=60 * SECOND)
        assert await members.list(group) == {"a:1": b"back"}
        assert await members.list(("nobody",)) == {}


async def test_announcements_are_kept_once(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        announcements = JetStreamAnnouncements(ns.link, ns.subjects)
        for _ in range(2):
            await announcements.announce("Order", "order:1", b"{}", dedup="run-1/closed")
        info = await ns.link.api(f"STREAM.INFO.{ns.subjects.events_stream}")
        assert info["state"]["messages"] == 1
        subject = ns.subjects.event("Order", "order:1")
        last = await ns.link.last_message(ns.subjects.events_stream, subject, leader=True)
        assert last is not None
        assert last.data == b"{}"


async def test_dead_letters_wait_until_removed(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        letters = JetStreamDeadLetters(ns.link, ns.subjects)
        for n in range(3):
            await letters.put("signal", "wf", b"%d" % n, dedup=f"{n}")
            await letters.put("signal", "wf", b"%d" % n, dedup=f"{n}")
        found = [letter async for letter in letters.scan()]
        assert [letter.data for letter in found] == [b"0", b"1", b"2"]
        assert all(letter.timestamp > 0 for letter in found)
        assert [one.data async for one in letters.scan(found[0].seq)] == [b"1", b"2"]
        await letters.remove(found[1].seq)
        await letters.remove(found[1].seq)
        await letters.remove(99)
        assert [letter.data async for letter in letters.scan()] == [b"0", b"2"]


async def test_replies_go_to_inboxes_only(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        replies = JetStreamReplies(ns.link, prefixes=["answers.shop"])
        for subject in ("_INBOX.abc.1", "answers.shop.7"):
            subscription = await ns.link.subscribe(subject, lambda m: heard.put_nowait(m.data))
            await replies.reply(subject, b"done", {"Perdure-Status": "completed"})
            async with asyncio.timeout(10):
                assert await heard.get() == b"done"
            await subscription.unsubscribe()
        refused = [
            "perdure.default._wf.q.00.id.hist",
            "_INBOX",
            "_INBOX.",
            "_INBOX.a..b",
            "_INBOX.>",
            "_INBOX.*",
            "_INBOX.a b",
            "_INBOX.a\r\nPUB x 0",
            "answers.shopping",
            "",
        ]
        for subject in refused:
            with pytest.raises(ReplyRefused):
                await replies.reply(subject, b"")


async def test_one_answers_each_question(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns, connected(ns.server.url) as link:
        topic = ("query", "my queue", "17")
        asker = JetStreamMessages(ns.link, ns.subjects)
        with pytest.raises(Unavailable):
            await asker.ask(topic, b"", timeout=5 * SECOND)
        asked: list[bytes] = []
        slow = asyncio.Event()

        async def handle(data: bytes) -> bytes:
            asked.append(data)
            if data == b"slow":
                await slow.wait()
            if data == b"bad":
                raise RuntimeError("cannot\r\nsay")
            return b"re: " + data

        one = await asker.answer(topic, handle)
        two = await JetStreamMessages(link, ns.subjects).answer(topic, handle)
        await asyncio.gather(*(asker.ask(topic, b"q", timeout=5 * SECOND) for _ in range(20)))
        assert len(asked) == 20
        waiting = asyncio.ensure_future(asker.ask(topic, b"slow", timeout=30 * SECOND))
        assert await asker.ask(topic, b"quick", timeout=5 * SECOND) == b"re: quick"
        slow.set()
        assert await waiting == b"re: slow"
        with pytest.raises(Unavailable, match="cannot say"):
            await asker.ask(topic, b"bad", timeout=5 * SECOND)
        await one.close()
        await two.close()
        with pytest.raises(Unavailable):
            await asker.ask(topic, b"", timeout=5 * SECOND)


async def test_a_late_answer_is_no_answer(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        messages = JetStreamMessages(ns.link, ns.subjects)
        never = asyncio.Event()

        async def handle(_data: bytes) -> bytes:
            await never.wait()
            return b""

        answering = await messages.answer(("t",), handle)
        with pytest.raises(Unavailable):
            await messages.ask(("t",), b"", timeout=SECOND // 5)
        never.set()
        await answering.close()


async def test_everyone_hears_what_is_told(tmp_path: Path) -> None:
    async with namespace(tmp_path) as ns:
        messages = JetStreamMessages(ns.link, ns.subjects)
        heard: asyncio.Queue[str] = asyncio.Queue()
        one = await messages.listen(("hint",), lambda data: heard.put_nowait(f"1{data!r}"))
        two = await messages.listen(("hint",), lambda data: heard.put_nowait(f"2{data!r}"))
        await messages.tell(("hint",), b"x")
        async with asyncio.timeout(10):
            assert {await heard.get(), await heard.get()} == {"1b'x'", "2b'x'"}
        await one.close()
        await two.close()
        await messages.tell(("hint",), b"nobody")
