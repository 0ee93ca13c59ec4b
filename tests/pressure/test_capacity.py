"""What the store says of its room, and what an operator says where it says nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.errors import APIError
from support.nats_server import running_server
from support.processes import processes

from perdure.adapters.jetstream.backend import JetStreamOptions, connect
from perdure.adapters.jetstream.link import ConnectOptions
from perdure.client import Client, StoreFullError
from perdure.ports.addresses import Address, Lane
from perdure_services._shell.errors import Refused
from perdure_services._shell.settings import ConnectionSettings
from perdure_services._shell.sizes import parse_size

LIMITED: dict[str, Any] = {
    "accounts": {
        "SHOP": {
            "jetstream": {"max_file": 50_000_000},
            "users": [{"user": "shop", "password": "secret"}],
        }
    }
}


@pytest.mark.asyncio
async def test_an_account_s_own_limit_is_known_to_everybody(tmp_path: Path) -> None:
    with running_server(tmp_path, **LIMITED) as server:
        connection = ConnectOptions(servers=(server.url,), user="shop", password="secret")
        async with connect(JetStreamOptions(connection=connection)) as backend:
            before = await backend.capacity.usage()
            assert before.limit == 50_000_000
            await backend.log.append(Address("q", "w"), Lane.EXTERNAL, bytes(100_000))
            after = await backend.capacity.usage()
            assert 100_000 < after.used - before.used < 110_000
            assert after.part == pytest.approx(after.used / 50_000_000)
        # The smaller of two limits counts.
        for said, counts in ((60_000_000, 50_000_000), (40_000_000, 40_000_000)):
            options = JetStreamOptions(connection=connection, store_limit=said)
            async with connect(options) as backend:
                assert (await backend.capacity.usage()).limit == counts


@pytest.mark.asyncio
async def test_a_server_s_limit_is_not_told_and_has_to_be_said(tmp_path: Path) -> None:
    with running_server(tmp_path, jetstream={"max_file_store": 50_000_000}) as server:
        async with await Client.connect(server.url) as client:
            usage = await client.backend.capacity.usage()
            assert (usage.limit, usage.part) == (0, 0.0)
        small: dict[str, Any] = {"store_limit": 1_000, "store_threshold": 0.1}
        async with await Client.connect(server.url, **small) as client:
            assert (await client.backend.capacity.usage()).limit == 1_000
            await client.backend.log.append(Address("q", "w"), Lane.EXTERNAL, bytes(100))
            with pytest.raises(StoreFullError, match="of 1000 bytes"):
                await client.start_workflow("Any", id="any")


@pytest.mark.asyncio
async def test_requests_that_wait_take_no_more_than_their_share(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        share = {"ingress": 100_000}
        async with await Client.connect(server.url, max_bytes=share) as client:
            outsider = await nats.connect(server.url)
            try:
                with pytest.raises(APIError, match="maximum bytes exceeded"):
                    for n in range(1_000):
                        await outsider.jetstream().publish(
                            f"perdure.default.start.Any.w-{n}", b'{"input": "' + b"x" * 900 + b'"}'
                        )
            finally:
                await outsider.close()
            # Nobody else is concerned.
            await client.start_workflow("Any", id="direct")


@pytest.mark.asyncio
async def test_the_command_line_says_it(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, processes(tmp_path / "shell") as shell:
        async with await Client.connect(server.url) as client:
            await client.start_workflow("Any", id="old")
        full = {"NATS_URL": server.url, "PERDURE_STORE_LIMIT": "1000"}
        describing = shell.perdure("describe", "old", **full)
        starting = shell.perdure("start", "Any", "--id", "new", "--json", **full)
        assert await asyncio.to_thread(describing.ended) == 0
        assert "of 1000 bytes) and no new workflow is started" in " ".join(
            describing.output.split()
        )
        assert await asyncio.to_thread(starting.ended) == 3
        assert '"code": "store_full"' in starting.output
        described = shell.perdure("describe", "old", "--json", **full)
        assert await asyncio.to_thread(described.ended) == 0
        assert json.loads(described.output)["store"]["limit"] == 1_000


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1_500),
        ("32MB", 32_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("2gb", 2 * 10**9),
    ],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "3 XB", "1e9", "1MB2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_the_settings_reach_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_STORE_LIMIT", "32MB")
    monkeypatch.setenv("PERDURE_STORE_THRESHOLD", "0.7")
    monkeypatch.setenv("PERDURE_INGRESS_LIMIT", "1MiB")
    options = ConnectionSettings.load().jetstream_options()
    assert (options.store_limit, options.store_threshold) == (32_000_000, 0.7)
    assert dict(options.max_bytes) == {"ingress": 1_048_576}
    monkeypatch.setenv("PERDURE_STORE_LIMIT", "much")
    with pytest.raises(Refused, match="not a size: 'much'"):
        ConnectionSettings.load()
    monkeypatch.setenv("PERDURE_STORE_LIMIT", "1")
    monkeypatch.setenv("PERDURE_STORE_THRESHOLD", "3")
    with pytest.raises(Refused, match="threshold"):
        ConnectionSettings.load()
