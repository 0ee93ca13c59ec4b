"""DBOS on PostgreSQL: a library, so that workflow, step and client are one process."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from harness.deployment import free_port
from load.world import TEXT

from peers.place import Once, PeerFailed, PeerProcess, Place

_FOLDERS: Final = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin")
_NOBODY: Final = "nobody"


class Dbos:
    """PostgreSQL as it comes: every commit waits for the disk."""

    title = "DBOS on PostgreSQL"
    durability = "fsync before each commit's answer, in groups"
    step = "in the process of the client"

    def missing(self) -> str:
        if not all(map(importlib.util.find_spec, ("dbos", "psycopg"))):
            return "dbos: pip install -r benchmarks/peers/requirements.txt"
        if _tool("initdb") is None or _tool("postgres") is None:
            return "PostgreSQL's initdb and postgres, on PATH or where Debian puts them"
        return ""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncGenerator[Place]:
        user = _other_user()
        data, port = folder / "data", free_port()
        _make(data, user)
        server = PeerProcess(
            "postgres",
            [
                *(str(_tool("postgres")), "-D", str(data), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"),
            ],
            folder,
            user=user,
        )
        try:
            await server.listens(port)
            await server.says("ready to accept connections")
            yield Place(
                f"postgresql+psycopg://perdure@127.0.0.1:{port}/bench", {"server": [server.pid]}
            )
        finally:
            server.stop()

    @asynccontextmanager
    async def client(self, address: str) -> AsyncGenerator[Once]:
        dbos: Any = importlib.import_module("dbos")
        engine = dbos.DBOS

        @engine.step()
        async def echo(text: str) -> str:
            return text

        @engine.workflow()
        async def one_step(text: str) -> str:
            return await echo(text)

        engine(
            config={
                "name": "bench",
                "system_database_url": address,
                "run_admin_server": False,
                "log_level": "ERROR",
                "console_log_level": "ERROR",
            }
        )
        engine.launch()

        async def once(workflow_id: str) -> str:
            with dbos.SetWorkflowID(workflow_id):
                return await one_step(TEXT)

        try:
            yield once
        finally:
            engine.destroy()


def _make(data: Path, user: int | None) -> None:
    """A fresh cluster of databases, of the user that runs it."""
    data.parent.chmod(0o755)
    data.mkdir()
    if user is not None:
        os.chown(data, user, -1)
    command = [str(_tool("initdb")), "-D", str(data), "-U", "perdure", "-A", "trust", "-E", "UTF8"]
    made = subprocess.run(command, capture_output=True, text=True, user=user, cwd=data)
    if made.returncode:
        raise PeerFailed(f"initdb failed:\n{made.stdout}{made.stderr}")


def _other_user() -> int | None:
    """PostgreSQL refuses to run as root."""
    return pwd.getpwnam(_NOBODY).pw_uid if os.geteuid() == 0 else None


def _tool(name: str) -> Path | None:
    if found := shutil.which(name):
        return Path(found)
    candidates: Sequence[Path] = [
        path
        for pattern in _FOLDERS
        for path in Path("/").glob(f"{pattern.removeprefix('/')}/{name}")
    ]
    return candidates[-1] if candidates else None
