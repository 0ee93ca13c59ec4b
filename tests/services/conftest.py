"""Processes, and one server for the tests that do not hurt it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nats_server import RunningServer, running_server
from support.processes import Processes, processes


@pytest.fixture
def perdures(tmp_path: Path) -> Iterator[Processes]:
    with processes(tmp_path / "work") as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as running:
        yield running
