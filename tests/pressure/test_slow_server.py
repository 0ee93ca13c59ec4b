"""A server that does not read: what a link holds back stays bounded, and everybody is told."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.crowds import size
from support.jetstream_namespace import Namespace, namespace

from perdure.adapters.jetstream.link import ConnectOptions, Link
from perdure.ports.errors import PortError, Unavailable

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

BUFFER = 1_000_000
PUBLISHES = size(10_000, 3_000)
BLOCK = bytes(10_000)


@asynccontextmanager
async def narrow(server: str) -> AsyncGenerator[Link]:
    link = await Link.connect(ConnectOptions(servers=(server,), buffer=BUFFER))
    try:
        yield link
    finally:
        await link.close()


async def outcome(link: Link, number: int, timeout: float) -> str:
    subject = f"perdure.default._dlq.test.{number}"
    try:
        await link.publish(subject, BLOCK, timeout=timeout)
    except PortError as error:
        assert "NATS at" in str(error)
        return type(error).__name__
    return "ok"


async def heap_while(work: asyncio.Task[list[str]]) -> int:
    """The most that was allocated while it ran, beyond what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        await asyncio.wait({work})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def everybody(link: Link, timeout: float) -> list[str]:
    return await asyncio.gather(*(outcome(link, n, timeout) for n in range(PUBLISHES)))


async def paused(here: Namespace, link: Link, timeout: float) -> tuple[Counter[str], int]:
    here.server.pause()
    try:
        work = asyncio.create_task(everybody(link, timeout))
        most = await heap_while(work)
        return Counter(work.result()), most
    finally:
        here.server.resume()


async def test_publishers_wait_and_are_refused_in_time(tmp_path: Path) -> None:
    async with namespace(tmp_path) as here, narrow(here.server.url) as link:
        outcomes, most = await paused(here, link, 2.0)
        assert outcomes.total() == PUBLISHES
        # A few went out before it was noticed, and nobody knows of them; the others surely did not.
        assert set(outcomes) == {"UnknownOutcome", "Unavailable"}
        assert outcomes["Unavailable"] > PUBLISHES // 2
        # Each waiting publisher costs a task; their blocks, which all share one, would be copied.
        assert most < PUBLISHES * len(BLOCK) // 2
        assert await outcome(link, 0, 30) == "ok"


async def test_publishers_that_can_wait_get_through(tmp_path: Path) -> None:
    async with namespace(tmp_path) as here, narrow(here.server.url) as link:
        here.server.pause()
        work = asyncio.create_task(everybody(link, 60.0))
        done, _ = await asyncio.wait({work}, timeout=1)
        assert not done
        here.server.resume()
        assert Counter(await work) == {"ok": PUBLISHES}


async def test_words_that_nobody_waits_for_are_refused_in_the_end(tmp_path: Path) -> None:
    async with namespace(tmp_path) as here, narrow(here.server.url) as link:
        here.server.pause()
        try:
            with pytest.raises(Unavailable, match="NATS at"):
                for number in range(PUBLISHES):
                    link.send("perdure.default._msg.test", BLOCK)
                    if number % 100 == 0:
                        await asyncio.sleep(0)
        finally:
            here.server.resume()
        assert await outcome(link, 0, 30) == "ok"


async def test_a_publisher_that_is_given_up_meanwhile_is_gone(tmp_path: Path) -> None:
    async with namespace(tmp_path) as here, narrow(here.server.url) as link:
        here.server.pause()
        try:
            work = asyncio.create_task(everybody(link, 60.0))
            await asyncio.wait({work}, timeout=0.5)
            work.cancel()
            done, _ = await asyncio.wait({work}, timeout=5)
            assert done
            assert work.cancelled()
        finally:
            here.server.resume()
