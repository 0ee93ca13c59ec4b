"""A disk without a byte left (ENOSPC), below nats-server's own limit.

The server then freezes the streams that it could not write, until it is started again: publishers get
no answer, readers go on. Nothing that was acknowledged may be gone, nothing may be done twice, and after
room and a restart of the server alone everything goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.js import JetStreamContext
from support.deployments import KINDS, deployment
from support.nats_server import RunningServer
from support.small_disk import small_disk
from support.watching import insist

from perdure.client import Client, UnavailableError, WorkflowHandle, WorkflowNotFoundError

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

_SHORT = timedelta(seconds=2)
_LETTERS = 300


@asynccontextmanager
async def connected_outsider(url: str) -> AsyncGenerator[JetStreamContext]:
    outsider = await nats.connect(url)
    try:
        yield outsider.jetstream()
    finally:
        await outsider.close()


async def taken_until_refused(
    client: Client, box: WorkflowHandle[Any, Any], stream: JetStreamContext
) -> list[int]:
    """The letters that got a receipt: the last page of the disk still takes some. Then every door
    refuses."""
    taken: list[int] = []
    with pytest.raises(UnavailableError, match=r"its disk not full|NATS at"):
        for number in range(10, _LETTERS):
            await box.signal("letter", number, rpc_timeout=_SHORT)
            taken.append(number)
    with pytest.raises(UnavailableError, match=r"its disk not full|NATS at"):
        for number in range(1_000):
            name = f"new-{number}"
            await client.start_workflow("Mailbox", 1, id=name, rpc_timeout=_SHORT)
    with pytest.raises((nats.errors.Error, TimeoutError)):
        for _ in range(1_000):
            await stream.publish("perdure.default.start.Echo", b"{}", timeout=2)
    return taken


async def send_on(box: WorkflowHandle[Any, Any], number: int) -> None:
    """A letter to a box that may be full by what got no receipt."""
    with contextlib.suppress(WorkflowNotFoundError):
        await box.signal("letter", number)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victims", ["nobody", "services"])
async def test_a_disk_without_a_byte_left_loses_nothing(tmp_path: Path, victims: str) -> None:
    with small_disk(tmp_path / "disk", megabytes=64) as disk:
        server = RunningServer(disk.folder, {"jetstream": {"max_file_store": 1_000_000_000}})
        server.start()
        try:
            async with (
                deployment(tmp_path / "services", server.url) as deployed,
                await Client.connect(server.url) as client,
                connected_outsider(server.url) as stream,
            ):
                made = await deployed.start_all()
                box = await client.start_workflow("Mailbox", _LETTERS, id="box")
                for number in range(10):
                    await box.signal("letter", number)
                slow = await client.start_workflow("Slow", 2.0, id="slow")
                sleeper = await client.start_workflow("Sleeper", 4.0, id="sleeper")
                await deployed.did("slow work-begun 1")
                await asyncio.to_thread(disk.fill)
                taken = [*range(10), *await taken_until_refused(client, box, stream)]
                await deployed.did("slow work-done 1")
                # What only reads goes on.
                assert (await box.describe(rpc_timeout=_SHORT)).close_time is None

                if victims == "services":
                    deployed.kill_all()
                    made = {kind: deployed.spawn(kind) for kind in KINDS}
                disk.free()
                server.kill()
                server.start()
                await asyncio.gather(*(process.ready() for process in made.values()))
                assert await insist(lambda: slow.result(60)) == "work"
                assert await insist(lambda: sleeper.result(60)) == "slept"
                for number in range(_LETTERS, 2 * _LETTERS - len(taken)):
                    await send_on(box, number)
                received = await box.result(60)
                assert len(received) == len(set(received)) == _LETTERS
                # In order, and only what had no receipt may be there beside what had one.
                assert [number for number in received if number in taken] == taken
                deeds = deployed.effects()
                assert deeds[:2] == ["slow work-begun 1", "slow work-done 1"]
                assert victims == "services" or len(deeds) == 2
        finally:
            server.kill()
