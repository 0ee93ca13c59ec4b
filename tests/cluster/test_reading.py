"""What is read to decide by is never old, whoever answers.

A replica that is cut off goes on answering its clients from what it had. A read through a port is
as new as every write that has a receipt, or it says that nobody can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, Node, Operator, operated, running_nodes
from support.cluster_network import ON_LINUX
from support.hot import linked

from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import JetStreamLog
from perdure.adapters.jetstream.state import JetStreamState
from perdure.adapters.jetstream.streams import TopologyOptions
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.tasks import JetStreamHeartbeats, JetStreamTasks
from perdure.adapters.jetstream.topology import ensure
from perdure.ports.addresses import Address, Lane, TaskKey
from perdure.ports.errors import PortError, Unavailable

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.asyncio,
    ON_LINUX,
]

SUBJECTS = Subjects("default")
HERE = Address("default", "order:1")
TASK = TaskKey("default", "order:1", "run", 1)
PATIENCE = 120.0


async def test_a_replica_that_is_cut_off_tells_nothing_old(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, apart=True) as cluster, operated(cluster) as operator:
        async with linked(cluster.urls) as link:
            await insisted(lambda: ensure(link, SUBJECTS, TopologyOptions(replicas=3)))
        await operator.settled()
        cut_off = await a_follower_of_all(cluster, operator)
        others = [node.url for node in cluster.nodes if node is not cut_off]
        async with linked(cut_off.url) as there, linked(others) as here:
            assert cut_off.cable is not None
            before = await insisted(lambda: write(here, 1))
            seen = await insisted(lambda: look(there, before))
            cut_off.cable.pull(clients=False)
            after = await insisted(lambda: write(here, 2))
            assert await look(here, after) != seen
            told = await asyncio.gather(*reads(there, after), return_exceptions=True)
            assert there.server_name == cut_off.name
            assert [type(one) for one in told] == [Unavailable] * len(told), told
            cut_off.cable.plug()
            await operator.settled()
            assert await insisted(lambda: look(there, after)) == await look(here, after)


async def a_follower_of_all(cluster: Cluster, operator: Operator) -> Node:
    """A node that leads nothing that is read here: who leads it gives way."""
    streams = (SUBJECTS.log_stream, SUBJECTS.state_stream, SUBJECTS.tasks_stream)
    chosen = cluster.nodes[0]
    async with asyncio.timeout(PATIENCE):
        while True:
            led = [one for one in streams if await operator.leader_of(one) == chosen.name]
            if not led:
                return chosen
            for stream in led:
                await operator.step_down(stream)


async def write(link: Link, number: int) -> list[int]:
    """One of each, by somebody whom nothing hinders. The sequences in LOG."""
    log = JetStreamLog(link, SUBJECTS, replicas=3)
    tip = await log.tip(HERE)
    word = b"%d" % number
    event = await log.append(HERE, Lane.EXTERNAL, word, dedup=f"event-{number}")
    record = await log.commit(HERE, word, after=tip.seq if tip else 0)
    await JetStreamHeartbeats(link, SUBJECTS, replicas=3).beat(TASK, word)
    tasks = JetStreamTasks(link, SUBJECTS, replicas=3)
    current = await tasks.current(TASK)
    await tasks.replace(TASK, word, seq=current.seq if current else 0)
    state = JetStreamState(link, SUBJECTS, replicas=3)
    found = await state.read(HERE.workflow_id)
    if found is None:
        await state.create(HERE.workflow_id, word)
    else:
        await state.update(HERE.workflow_id, word, revision=found[1])
    return [event, record]


def reads(link: Link, seqs: list[int]) -> list[Awaitable[Any]]:
    """Every read by which something is decided."""
    log = JetStreamLog(link, SUBJECTS, replicas=3)
    return [
        log.tip(HERE),
        log.read(seqs),
        log.following(HERE, Lane.EXTERNAL, 0),
        log.following(HERE, Lane.HISTORY, 0),
        JetStreamState(link, SUBJECTS, replicas=3).read(HERE.workflow_id),
        JetStreamTasks(link, SUBJECTS, replicas=3).current(TASK),
        JetStreamHeartbeats(link, SUBJECTS, replicas=3).last(TASK),
    ]


async def look(link: Link, seqs: list[int]) -> list[Any]:
    return list(await asyncio.gather(*reads(link, seqs)))


async def insisted[T](call: Callable[[], Awaitable[T]]) -> T:
    """Until there is an answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except PortError:
                await asyncio.sleep(0.05)
