"""All ports together, as composition roots get them."""

from datetime import timedelta
from pathlib import Path

import pytest
from support.nats_server import running_server

from perdure.adapters.jetstream.backend import JetStreamOptions, connect
from perdure.adapters.jetstream.link import ConnectOptions
from perdure.adapters.jetstream.topology import TopologyError
from perdure.ports.addresses import Address, Lane
from perdure.ports.errors import Unavailable

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]


async def test_a_namespace_outlives_its_connections(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        connection = ConnectOptions(servers=(server.url,))
        options = JetStreamOptions(connection=connection, namespace="shop", partitions=8)
        address = Address("default", "order:1")
        async with connect(options) as backend:
            assert (backend.namespace, backend.partitions) == ("shop", 8)
            assert backend.lease == 10**10
            assert backend.max_message <= 900_000
            seq = await backend.log.append(address, Lane.EXTERNAL, b"started")
            revision = await backend.state.create("order:1", b"entry")
        async with connect(options) as backend:
            (stored,) = await backend.log.read([seq])
            assert stored is not None
            assert stored.data == b"started"
            assert await backend.state.read("order:1") == (b"entry", revision)


async def test_namespaces_do_not_see_each_other(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        connection = ConnectOptions(servers=(server.url,))
        async with (
            connect(JetStreamOptions(connection=connection, namespace="one")) as one,
            connect(JetStreamOptions(connection=connection, namespace="two")) as two,
        ):
            await one.state.create("wf", b"")
            assert await two.state.read("wf") is None


async def test_the_largest_message_respects_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path, max_payload=300_000) as server:
        options = JetStreamOptions(connection=ConnectOptions(servers=(server.url,)))
        async with connect(options) as backend:
            assert backend.max_message == 300_000 - 65_536
            data = b"x" * 1_000_000
            await backend.blobs.put("wf/r/1", data)
            assert await backend.blobs.get("wf/r/1") == data
            await backend.archive.put("wf", "r", data)
            assert await backend.archive.get("wf", "r") == data


async def test_no_create_needs_the_streams(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        connection = ConnectOptions(servers=(server.url,))
        with pytest.raises(TopologyError, match="--no-create"):
            async with connect(JetStreamOptions(connection=connection, create=False)):
                pass
        async with connect(JetStreamOptions(connection=connection)):
            pass
        async with connect(JetStreamOptions(connection=connection, create=False)):
            pass


async def test_no_server_is_said_clearly() -> None:
    connection = ConnectOptions(servers=("nats://127.0.0.1:1",), start_timeout=0.5)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        async with connect(JetStreamOptions(connection=connection)):
            pass


async def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="partitions"):
        JetStreamOptions(partitions=3)
    with pytest.raises(ValueError, match="lease"):
        JetStreamOptions(lease=timedelta(0))


async def test_every_stream_outlives_a_crash_of_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        connection = ConnectOptions(servers=(server.url,))
        async with connect(JetStreamOptions(connection=connection)):
            server.restart()
        # Whoever comes next may not be allowed to make what is missing.
        async with connect(JetStreamOptions(connection=connection, create=False)) as backend:
            await backend.members.beat(("scheduler",), "one", b"", ttl=10**10)
            assert set(await backend.members.list(("scheduler",))) == {"one"}
