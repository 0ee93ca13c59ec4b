"""Starts and signals published without waiting, through gateways one of which is killed midway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

import pytest
from nats.js.api import PubAck
from support.polling import until_found
from support.systems import System, system
from support.watching import insist

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

PAIRS: Final = 1_000
LETTERS: Final = 3
NAMES: Final = ("letter", "parcel", "letter")


async def publish_all(here: System) -> None:
    """In order, on one connection; acknowledgements are collected afterwards, as they come."""
    jetstream = here.outsider.jetstream(publish_async_max_pending=1_000)
    receipts: list[asyncio.Future[PubAck]] = []
    for number in range(PAIRS):
        start = f"perdure.default.start.Mailbox.box-{number}"
        receipts.append(await jetstream.publish_async(start, b'{"args": [%d]}' % LETTERS))
        for letter, name in enumerate(NAMES):
            subject = f"perdure.default.signal.box-{number}.{name}"
            receipts.append(await jetstream.publish_async(subject, json.dumps(letter).encode()))
    await asyncio.gather(*receipts)


@pytest.mark.timeout(240)
async def test_every_signal_arrives_once_and_in_order(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        gateways, _ = await asyncio.gather(
            asyncio.gather(
                here.deployed.start("gateway", "one"), here.deployed.start("gateway", "other")
            ),
            here.deployed.start("scheduler"),
        )
        publishing = asyncio.create_task(publish_all(here))

        async def a_third_is_in() -> bool | None:
            return await here.client.backend.state.read(f"box-{PAIRS // 3}") is not None or None

        await until_found(a_third_is_in, "a third of the starts")
        draining = next(one for one in gateways if "opened the door" in one.log)
        draining.kill()
        await publishing
        handles = [here.client.get_workflow_handle(f"box-{number}") for number in range(PAIRS)]
        results = await asyncio.gather(
            *(insist(lambda handle=handle: handle.result(120), seconds=120) for handle in handles)
        )
        wrong = {n: result for n, result in enumerate(results) if result != list(range(LETTERS))}
        assert not wrong
        survivor = next(one for one in gateways if one is not draining)
        assert "opened the door" in survivor.log
        assert await here.dead_letters() == []
