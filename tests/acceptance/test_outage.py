"""The server goes away and comes back under a program that works."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from support.nats_server import running_server

from perdure import activity, workflow
from perdure.client import Client, UnavailableError
from perdure.worker import Worker

pytestmark = pytest.mark.integration

SOON = timedelta(seconds=1.5)


@activity.defn
async def step(number: int) -> int:
    return number


@workflow.defn
class Walk:
    def __init__(self) -> None:
        self.is_over = False
        self.at = 0

    @workflow.run
    async def run(self) -> int:
        while not self.is_over:
            self.at += await workflow.execute_activity(
                step, 1, start_to_close_timeout=timedelta(seconds=20)
            )
            await workflow.wait_condition(lambda: self.is_over, timeout=0.05)
        return self.at

    @workflow.signal
    def stop(self) -> None:
        self.is_over = True

    @workflow.query
    def place(self) -> int:
        return self.at


def test_what_was_under_way_goes_on_and_the_log_stays_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with (
            await Client.connect(server.url, reconnect_wait=0.1) as client,
            Worker(client, task_queue="q", workflows=[Walk], activities=[step]),
        ):
            handle = await client.start_workflow(Walk.run, id="walk", task_queue="q")
            while await handle.query(Walk.place) < 3:
                await asyncio.sleep(0.01)
            server.kill()
            with pytest.raises(UnavailableError, match="could not start workflow 'x'"):
                await client.start_workflow(Walk.run, id="x", task_queue="q", rpc_timeout=SOON)
            with pytest.raises(UnavailableError, match=r"could not describe.*Try again"):
                await handle.describe(rpc_timeout=SOON)
            server.start()
            await handle.signal(Walk.stop)
            assert await handle.result(timeout=60) >= 3

    with running_server(tmp_path) as server, caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert said, "an outage is worth a word"
    assert len(said) < 10
    assert not [r for r in caplog.records if r.exc_info]
    assert any("answers again" in record.getMessage() for record in caplog.records)
