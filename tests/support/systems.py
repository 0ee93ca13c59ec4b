"""A server, a deployment on it, and a client: what most end-to-end tests begin with."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client as Outsider
from support.deployments import Deployment, deployment
from support.nats_server import RunningServer, running_server

from perdure.client import Client


@dataclass
class System:
    """``outsider`` speaks NATS and knows nothing of perdure."""

    server: RunningServer
    deployed: Deployment
    client: Client
    outsider: Outsider

    async def publish(self, subject: str, body: Any = None, **headers: str) -> int:
        """As any program would: JetStream's acknowledgement is the receipt."""
        data = b"" if body is None else json.dumps(body).encode()
        receipt = await self.outsider.jetstream().publish(
            f"perdure.default.{subject}", data, headers=headers or None
        )
        return receipt.seq

    async def ask(self, subject: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """Publish and wait for the outcome."""
        inbox = self.outsider.new_inbox()
        listening = await self.outsider.subscribe(inbox)
        await self.outsider.flush()
        await self.publish(subject, body, **{"Perdure-Reply-To": inbox, **headers})
        answer = await listening.next_msg(timeout=60)
        await listening.unsubscribe()
        return json.loads(answer.data)

    async def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(one.data) async for one in self.client.backend.dead_letters.scan()]


@asynccontextmanager
async def system(
    folder: Path, *, imports: str = "support.journeys", **server_options: Any
) -> AsyncGenerator[System]:
    with running_server(folder, **server_options) as server:
        async with (
            deployment(folder / "services", server.url, imports=imports) as deployed,
            await Client.connect(server.url) as client,
        ):
            outsider = await nats.connect(server.url)
            try:
                yield System(server, deployed, client, outsider)
            finally:
                await outsider.close()
