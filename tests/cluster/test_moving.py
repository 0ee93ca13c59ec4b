"""A node that is cut off from its cluster keeps its clients: they have to leave by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.cluster import operated, running_nodes
from support.cluster_network import ON_LINUX
from support.hot import Collector, create_hot_streams, linked

from perdure.adapters.jetstream.log import JetStreamInbox, JetStreamLog
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Address, Lane
from perdure.ports.errors import PortError

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
PATIENCE = 120.0


async def test_who_is_with_a_node_that_is_cut_off_moves_to_another(tmp_path: Path) -> None:
    async with running_nodes(tmp_path, apart=True) as cluster, operated(cluster) as operator:
        async with linked(cluster.urls) as link:
            await create_hot_streams(link, SUBJECTS, replicas=3)
        await operator.settled()
        node = cluster.named(await operator.leader_of(SUBJECTS.log_stream))
        assert node.cable is not None
        async with linked(node.url) as link:
            log, got = JetStreamLog(link, SUBJECTS, replicas=3), Collector(ack=True)
            inbox = JetStreamInbox(link, SUBJECTS, partitions=1)
            consuming = await inbox.open("default", 0, got, credit=10)
            node.cable.pull(clients=False)
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await log.append(HERE, Lane.EXTERNAL, b"signal", dedup="signal")
                        break
                    except PortError:
                        assert link.connected, "the node itself is there and answers"
            assert link.server_name != node.name
            await got.count(1, within=PATIENCE)
            await consuming.close()
