"""Temporal: the CLI's development server (one process, SQLite in a file), one worker process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from harness.deployment import BENCHMARKS, free_port
from load.world import TEXT

from peers.place import Once, PeerProcess, Place

_BUILT = BENCHMARKS.parent / ".tools" / "bin" / "temporal"


class Temporal:
    """A development server: production runs Temporal on another database, in several services."""

    title = "Temporal, development server"
    durability = "SQLite in a file, write-ahead log, no fsync per commit"
    step = "activity in a worker process"

    def missing(self) -> str:
        if not importlib.util.find_spec("temporalio"):
            return "temporalio: pip install -r benchmarks/peers/requirements.txt"
        if _server() is None:
            return (
                "temporal: its command line tool on PATH, or built with Go: "
                'scripts/build_go_tool.sh "the Temporal CLI" github.com/temporalio/cli v1.5.1 '
                "github.com/temporalio/cli/cmd/temporal temporal 1"
            )
        return ""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncGenerator[Place]:
        port = free_port()
        address = f"127.0.0.1:{port}"
        server = PeerProcess(
            "temporal",
            [
                *(str(_server()), "server", "start-dev", "--headless", "--ip", "127.0.0.1"),
                *("--port", str(port), "--db-filename", str(folder / "temporal.db")),
                # Its own default is a rollback journal with an fsync for each transaction.
                *("--sqlite-pragma", "journal_mode=WAL"),
                *("--sqlite-pragma", "synchronous=NORMAL"),
                *("--log-level", "error"),
            ],
            folder,
        )
        worker: PeerProcess | None = None
        try:
            await server.listens(port)
            await server.until(lambda: _answers(address))
            worker = PeerProcess(
                "temporal-worker", [sys.executable, "-m", "peers.temporal_world", address], folder
            )
            await worker.says("the worker polls")
            yield Place(address, {"server": [server.pid], "worker": [worker.pid]})
        finally:
            if worker is not None:
                worker.stop()
            server.stop()

    @asynccontextmanager
    async def client(self, address: str) -> AsyncGenerator[Once]:
        from temporalio.client import Client

        from peers.temporal_world import QUEUE, OneStep

        connected = await Client.connect(address)

        async def once(workflow_id: str) -> str:
            return await connected.execute_workflow(
                OneStep.run, TEXT, id=workflow_id, task_queue=QUEUE
            )

        yield once


async def _answers(address: str) -> bool:
    """Whether the server knows its namespace: it takes connections before that."""
    from temporalio.client import Client
    from temporalio.service import RPCError

    try:
        client = await Client.connect(address)
        async for _ in client.list_workflows(limit=1):
            pass
    except (RPCError, RuntimeError):
        return False
    return True


def _server() -> str | None:
    if named := os.environ.get("TEMPORAL_CLI"):
        return named
    return shutil.which("temporal") or (str(_BUILT) if _BUILT.exists() else None)
