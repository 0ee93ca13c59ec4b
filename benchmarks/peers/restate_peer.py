"""Restate: one server process, one service process (hypercorn), invoked over HTTP."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from harness.deployment import BENCHMARKS, free_port
from load.world import TEXT

from peers.place import Once, PeerFailed, PeerProcess, Place

_NPM: Final = BENCHMARKS.parent / ".tools" / "node_modules" / ".bin" / "restate-server"
_TIMEOUT: Final = 120.0


class Restate:
    """As it comes: 24 partitions, one replica."""

    title = "Restate"
    durability = "fsync before each answer, in groups"
    step = "in the process of the workflow"

    def missing(self) -> str:
        if _server() is None:
            return "restate-server: npm install --prefix .tools @restatedev/restate-server"
        if not all(map(importlib.util.find_spec, ("restate", "hypercorn", "httpx"))):
            return "restate-sdk: pip install -r benchmarks/peers/requirements.txt"
        return ""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncGenerator[Place]:
        ingress, admin, node, service = (free_port() for _ in range(4))
        server = PeerProcess(
            "restate-server",
            [str(_server()), "--no-logo", "--base-dir", str(folder / "store")],
            folder,
            environment={
                "RESTATE_LISTEN_MODE": "tcp",
                "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
                "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}/",
                "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
                "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                "RESTATE_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "1",
            },
        )
        worker = PeerProcess(
            "restate-service",
            [
                *(sys.executable, "-m", "hypercorn", "-k", "uvloop"),
                *("--bind", f"127.0.0.1:{service}", "peers.restate_app:app"),
            ],
            folder,
        )
        try:
            await server.listens(ingress)
            await server.listens(admin)
            await worker.listens(service)
            await _register(admin, service)
            yield Place(
                f"http://127.0.0.1:{ingress}", {"server": [server.pid], "worker": [worker.pid]}
            )
        finally:
            worker.stop()
            server.stop()

    @asynccontextmanager
    async def client(self, address: str) -> AsyncGenerator[Once]:
        import httpx

        # One client per connection: a pool of a hundred costs more than the requests.
        free: list[httpx.AsyncClient] = []
        async with AsyncExitStack() as stack:

            async def another() -> httpx.AsyncClient:
                made = httpx.AsyncClient(base_url=address, timeout=_TIMEOUT, verify=False)
                return await stack.enter_async_context(made)

            async def once(workflow_id: str) -> str:
                http = free.pop() if free else await another()
                answer = await http.post(f"/OneStep/{workflow_id}/run", json=TEXT)
                answer.raise_for_status()
                free.append(http)
                return answer.json()

            yield once


async def _register(admin: int, service: int) -> None:
    """Tell the server where the service is."""
    import httpx

    async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
        answer = await http.post(
            f"http://127.0.0.1:{admin}/deployments",
            json={"uri": f"http://127.0.0.1:{service}", "force": True},
        )
        if answer.is_error:
            raise PeerFailed(f"Restate took no deployment: {answer.text}")


def _server() -> Path | None:
    if named := os.environ.get("RESTATE_SERVER"):
        return Path(named)
    if found := shutil.which("restate-server"):
        return Path(found)
    return _NPM if _NPM.exists() else None
