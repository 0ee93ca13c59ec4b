"""``perdure dev`` with poison among its workflows: the whole of it is replaced, and its data stay."""

import asyncio
import signal
from pathlib import Path

import pytest
from support.nats_server import free_port
from support.polling import until_found
from support.processes import PATIENCE, is_alive, processes

from perdure.client import Client, UnavailableError
from perdure.core.state import decode_state
from perdure.ports.errors import PortError

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

CODE = """
from shop import *
from perdure import workflow


@workflow.defn
class Endless:
    @workflow.run
    async def run(self) -> None:
        while True:
            pass
"""


async def order(url: str, workflow_id: str) -> object:
    async with await Client.connect(url) as client:
        handle = await client.start_workflow("Order", "1", id=workflow_id)
        return await handle.result(timeout=PATIENCE)


async def poison(url: str) -> None:
    async with await Client.connect(url) as client:
        await client.start_workflow("Endless", id="endless")


async def until_quarantined(url: str) -> None:
    """Each strike takes the server along: it is asked until it is there to answer."""

    async def look() -> bool | None:
        try:
            async with await Client.connect(url) as client:
                found = await client.backend.state.read("endless")
        except (UnavailableError, PortError):
            return None
        return (found is not None and "quarantined" in decode_state(found[0]).blocked) or None

    await until_found(look, "the quarantine", seconds=100)


def test_dev_survives_poison(tmp_path: Path) -> None:
    with processes(tmp_path / "work") as perdures:
        (perdures.folder / "poisoned.py").write_text(CODE)
        port = free_port()
        url = f"nats://127.0.0.1:{port}"
        process = perdures.perdure(
            *("dev", "--import", "shop", "--import", "poisoned"),
            *("--port", str(port), "--health-port", "0"),
            PERDURE_TURN_TIMEOUT="0.5s",
        )
        process.wait_for("perdure dev is ready")
        assert asyncio.run(order(url, "before")) == "paid-1"
        asyncio.run(poison(url))
        process.wait_for("workflow 'endless': a turn of its code took longer than 0.5 s")
        process.wait_for("perdure dev is ready")
        asyncio.run(until_quarantined(url))
        assert asyncio.run(order(url, "after")) == "paid-1"
        process.send(signal.SIGINT)
        assert process.ended() == 0, process.output
        assert not is_alive(process.pid)
