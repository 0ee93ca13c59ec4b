"""A namespace with all its streams on a real server, for the tests of single stores."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.nats_server import RunningServer, running_server

from perdure.adapters.jetstream.link import ConnectOptions, Link
from perdure.adapters.jetstream.streams import TopologyOptions
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.topology import ensure


@dataclass
class Namespace:
    server: RunningServer
    link: Link
    subjects: Subjects


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncGenerator[Link]:
    link = await Link.connect(replace(ConnectOptions(servers=(url,)), **options))
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def namespace(
    tmp_path: Path, *, topology: TopologyOptions | None = None, **server_options: Any
) -> AsyncGenerator[Namespace]:
    """A server of its own below ``tmp_path`` with the namespace ``default``."""
    with running_server(tmp_path, **server_options) as server:
        async with connected(server.url) as link:
            subjects = Subjects("default")
            await ensure(link, subjects, topology)
            yield Namespace(server, link, subjects)
