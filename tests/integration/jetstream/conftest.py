"""One server for all tests that do not hurt it; each test has a namespace of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from support.hot import create_hot_streams, linked
from support.nats_server import RunningServer, running_server

from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.subjects import Subjects

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest_asyncio.fixture
async def link(server: RunningServer) -> AsyncIterator[Link]:
    async with linked(server.url) as made:
        yield made


@pytest_asyncio.fixture
async def subjects(link: Link) -> Subjects:
    """A namespace with its LOG and TASKS."""
    made = Subjects(f"test-{next(_numbers)}")
    await create_hot_streams(link, made)
    return made
