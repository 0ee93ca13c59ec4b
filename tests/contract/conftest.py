"""One server for all contract tests that need one: each check gets a namespace of its own."""

from collections.abc import Iterator

import pytest
from support.nats_server import running_server


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("contract")) as server:
        yield server.url
