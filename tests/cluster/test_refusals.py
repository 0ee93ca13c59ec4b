"""What a replicated stream says while it cannot decide, provoked one by one.

A leader whose followers stand still takes a write and cannot finish it: whoever writes there
meanwhile hears that one is in process. Without a leader there is nobody to hear anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from support.cluster import Cluster, Node, Operator, operated, running_nodes
from support.hot import create_hot_streams, eventually, linked

from perdure.adapters.jetstream.errors import err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import JetStreamLog
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Address, Lane
from perdure.ports.errors import Conflict, PortError, UnknownOutcome

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio,
]

SUBJECTS = Subjects("default")
HERE = Address("default", "order:1")
PATIENCE = 120.0


@asynccontextmanager
async def hot_cluster(folder: Path) -> AsyncGenerator[tuple[Cluster, Operator]]:
    async with running_nodes(folder) as cluster, operated(cluster) as operator:
        async with linked(cluster.urls) as link:
            await create_hot_streams(link, SUBJECTS, replicas=3)
        await operator.settled()
        yield cluster, operator


@contextmanager
def standing_still(nodes: Sequence[Node]) -> Generator[None]:
    for node in nodes:
        node.pause()
    try:
        yield
    finally:
        for node in nodes:
            node.resume()


async def insisted[T](call: Callable[[], Awaitable[T]]) -> T:
    """As whoever may make a call again: until there is an answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except PortError:
                await asyncio.sleep(0.05)


async def lane_of(link: Link, lane: Lane) -> list[bytes]:
    log = JetStreamLog(link, SUBJECTS, replicas=3)
    return [one.data for one in await insisted(lambda: log.following(HERE, lane, 0))]


async def test_a_commit_beside_one_in_process_is_unknown(tmp_path: Path) -> None:
    async with hot_cluster(tmp_path) as (cluster, operator):
        leader = cluster.named(await operator.leader_of(SUBJECTS.log_stream))
        others = [node for node in cluster.nodes if node is not leader]
        async with linked(leader.url) as link:
            log = JetStreamLog(link, SUBJECTS, replicas=3)
            with standing_still(others):
                racers = [
                    asyncio.ensure_future(log.commit(HERE, word, after=0)) for word in (b"a", b"b")
                ]
                await eventually(lambda: link.refusals[10164] == 1)
            refused, taken = await asyncio.gather(*racers, return_exceptions=True)
            if isinstance(taken, BaseException) and err_code_of(taken) == 10164:
                refused, taken = taken, refused
            assert isinstance(refused, UnknownOutcome) and err_code_of(refused) == 10164
            # Those that stood still may have elected a leader that never heard of the other.
            assert isinstance(taken, int | UnknownOutcome)

            async def go_on() -> int:
                tip = await log.tip(HERE)
                return await log.commit(HERE, b"last", after=tip.seq if tip else 0)

            await insisted(go_on)
            *before, last = await lane_of(link, Lane.HISTORY)
            assert last == b"last" and len(before) <= 1
            assert before or not isinstance(taken, int), "a commit with a receipt is lost"


async def test_an_append_beside_itself_is_one(tmp_path: Path) -> None:
    async with hot_cluster(tmp_path) as (cluster, operator):
        leader = cluster.named(await operator.leader_of(SUBJECTS.log_stream))
        others = [node for node in cluster.nodes if node is not leader]
        async with linked(leader.url) as link:
            log = JetStreamLog(link, SUBJECTS, replicas=3)

            def append() -> Awaitable[int]:
                return log.append(HERE, Lane.ENGINE, b"result", dedup="run:1:1:completed")

            with standing_still(others):
                appends = [asyncio.ensure_future(insisted(append)) for _ in range(3)]
                await eventually(lambda: link.refusals[10158] >= 2)
            assert len(set(await asyncio.gather(*appends))) == 1
            assert await lane_of(link, Lane.ENGINE) == [b"result"]


async def test_an_append_to_nobody_waits_for_a_leader(tmp_path: Path) -> None:
    async with hot_cluster(tmp_path) as (cluster, operator):
        leader = cluster.named(await operator.leader_of(SUBJECTS.log_stream))
        here, other = (node for node in cluster.nodes if node is not leader)
        async with linked(here.url) as link:
            log = JetStreamLog(link, SUBJECTS, replicas=3)
            with standing_still([other]):
                leader.kill()
                append = asyncio.ensure_future(
                    insisted(lambda: log.append(HERE, Lane.EXTERNAL, b"signal", dedup="signal"))
                )
                await eventually(lambda: link.refusals[503] >= 2, within=PATIENCE)
            sequence = await append
            commit = await insisted(lambda: log.commit(HERE, b"record", after=0))
            assert sequence < commit
            assert await lane_of(link, Lane.EXTERNAL) == [b"signal"]
            with pytest.raises(Conflict):
                await log.commit(HERE, b"again", after=0)
            leader.start()
            await operator.settled()
            assert await lane_of(link, Lane.HISTORY) == [b"record"]
