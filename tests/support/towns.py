"""A server with one process of each kind, any of which may be killed and is then started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from support.crash_judge import Death
from support.deployments import Deployment, Kind, Process, deployment
from support.nats_server import RunningServer, running_server
from support.voyage_life import IMPORTS

from perdure.client import Client

Victim = Literal["scheduler", "worker", "gateway", "nats-server"]
VICTIMS: Final[tuple[Victim, ...]] = ("scheduler", "worker", "gateway", "nats-server")


@dataclass
class Town:
    server: RunningServer
    deployed: Deployment
    client: Client
    processes: dict[Kind, Process]

    def kill(self, victim: Victim) -> Death:
        """Now, in the midst of whatever it does."""
        process = self.server if victim == "nats-server" else self.processes[victim]
        pid = process.pid
        process.kill()
        return Death(pid, time.time())

    async def revive(self, victim: Victim) -> None:
        """Another one in its place; returns when it is ready."""
        if victim == "nats-server":
            await asyncio.to_thread(self.server.start)
        else:
            self.processes[victim] = await self.deployed.restart(self.processes[victim])


@asynccontextmanager
async def town(folder: Path) -> AsyncGenerator[Town]:
    with running_server(folder) as server:
        async with (
            deployment(folder, server.url, imports=IMPORTS) as deployed,
            await Client.connect(server.url) as client,
        ):
            yield Town(server, deployed, client, await deployed.start_all())
