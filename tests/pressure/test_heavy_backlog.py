"""A backlog of heavy events, more than the server holds for a connection: it comes at the reader's pace."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support.crowds import each
from support.nats_server import running_server

from perdure.adapters.jetstream.backend import JetStreamOptions, connect
from perdure.adapters.jetstream.link import ConnectOptions
from perdure.ports.addresses import Address, Lane
from perdure.ports.log import Delivery

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.asyncio]

EVENTS = 600
WEIGHT = bytes(110_000)


async def test_a_heavy_backlog_does_not_cut_its_reader_off(tmp_path: Path) -> None:
    # The default of 64 MB, and three times as many events, would take longer to say the same.
    with running_server(tmp_path, max_pending=16_000_000) as server:
        options = JetStreamOptions(connection=ConnectOptions(servers=(server.url,)))
        async with connect(options) as writer:
            await each(
                range(EVENTS),
                lambda n: writer.log.append(
                    Address("default", f"w-{n % 97}"), Lane.EXTERNAL, WEIGHT
                ),
                at_a_time=20,
            )
        async with connect(options) as reader:
            seen: list[int] = []
            everything = asyncio.Event()

            def take(delivery: Delivery) -> None:
                time.sleep(0.004)  # A reader that has something to do for each.
                seen.append(delivery.message.seq)
                delivery.ack()
                if len(set(seen)) == EVENTS:
                    everything.set()

            opened = [
                await reader.inbox.open("default", partition, take, credit=1_000)
                for partition in range(reader.partitions)
            ]
            async with asyncio.timeout(90):
                await everything.wait()
            await asyncio.gather(*(one.close() for one in opened))
        assert len(seen) == EVENTS
        assert "Slow Consumer" not in server.log_path.read_text()
