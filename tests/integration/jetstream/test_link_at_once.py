"""What a link begins without waiting for the server: posts, and subscriptions that live short."""

import asyncio
from pathlib import Path

import pytest
from support.hot import create_hot_streams, eventually, linked
from support.nats_server import running_server

from perdure.adapters.jetstream.dedup import identified
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Address, Lane

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

SUBJECTS = Subjects("default")
PLACE = SUBJECTS.lane(Address("default", "order:1"), Lane.EXTERNAL)


async def stored(link: Link) -> list[bytes]:
    body = {"seq": 1, "next_by_subj": PLACE, "batch": 10}
    return [raw.data for raw in await link.batch_get(SUBJECTS.log_stream, body)]


async def test_a_post_is_on_its_way_before_it_is_awaited(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with linked(server.url) as link:
            await create_hot_streams(link, SUBJECTS)
            posted = link.post(PLACE, b"first", identified(PLACE, "first"))
            await link.publish(PLACE, b"second")
            assert await stored(link) == [b"first", b"second"]
            receipts = link.acknowledged
            await posted
            assert link.acknowledged == receipts + 1


async def test_a_post_outlives_the_server_and_counts_once(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with linked(server.url) as link:
            await create_hot_streams(link, SUBJECTS)
            known = link.post(PLACE, b"word", identified(PLACE, "word"))
            await known
            server.pause()
            again = asyncio.ensure_future(link.post(PLACE, b"word", identified(PLACE, "word")))
            other = asyncio.ensure_future(link.post(PLACE, b"other", identified(PLACE, "other")))
            await asyncio.sleep(0)
            server.kill()
            await eventually(lambda: not link.connected)
            late = link.post(PLACE, b"late", identified(PLACE, "late"))
            await asyncio.to_thread(server.start)
            await asyncio.gather(again, other, late)
            assert sorted(await stored(link)) == [b"late", b"other", b"word"]


async def test_a_short_subscription_outlives_the_server_and_ends_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with linked(server.url) as link, linked(server.url) as other:
            await create_hot_streams(link, SUBJECTS)
            heard: list[bytes] = []
            listening = link.listen("short", lambda message: heard.append(message.data))
            # The next answer says that the server has it.
            await link.last_message(SUBJECTS.log_stream, PLACE, leader=False)
            other.send("short", b"1")
            await eventually(lambda: heard == [b"1"])
            await asyncio.to_thread(server.restart)

            def heard_again() -> bool:
                # Again and again: either side may not know yet that the connection is a new one.
                other.send("short", b"2")
                return b"2" in heard

            await eventually(heard_again)
            link.forget(listening)
            link.forget(listening)
            before = list(heard)
            ended = asyncio.Event()
            link.listen("short", lambda _: ended.set())
            await link.last_message(SUBJECTS.log_stream, PLACE, leader=False)
            other.send("short", b"3")
            await asyncio.wait_for(ended.wait(), 20)
            assert heard == before
