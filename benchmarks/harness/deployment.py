"""A nats-server and the services of one namespace, each a process of its own, for one line.

Every line has a server, a store and services of its own, so that none pays for the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from perdure.adapters.jetstream.embedded import EmbeddedServer

BENCHMARKS: Final = Path(__file__).resolve().parents[1]
_LEASH: Final = Path(__file__).with_name("leash.py")
_MODULES: Final = {
    "scheduler": "perdure_services.scheduler",
    "worker": "perdure_services.activity_worker",
    "gateway": "perdure_services.signal_gateway",
}
_WORLD: Final = "load.world"
_READY_WITHIN: Final = 90.0
_GLANCE: Final = 0.03
_LAST_WORDS: Final = 3_000


@dataclass(frozen=True)
class Shape:
    """How many processes of each kind, and how the server stores."""

    schedulers: int = 1
    workers: int = 1
    gateways: int = 1
    durable: bool = False
    settings: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def counts(self) -> dict[str, int]:
        return {"scheduler": self.schedulers, "worker": self.workers, "gateway": self.gateways}


@dataclass(frozen=True)
class Deployment:
    """What runs: where the server is, and who to watch."""

    url: str
    store: Path
    groups: dict[str, list[int]]

    def to_json(self) -> dict[str, Any]:
        return {"url": self.url, "store": str(self.store), "groups": self.groups}


class ServiceFailed(Exception):
    """A process of the deployment ended, or never became ready."""


class _Service:
    """One service process."""

    def __init__(self, kind: str, name: str, environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._port = free_port()
        own = {"PERDURE_IDENTITY": name, "PERDURE_HEALTH_PORT": str(self._port)}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                leashed(sys.executable, "-m", _MODULES[kind]),
                cwd=folder,
                env=environment | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        """Wait until its health page says so."""
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while not await _says_ready(self._port):
                    if self._process.poll() is not None:
                        raise ServiceFailed(self._words("ended while starting"))
                    await asyncio.sleep(_GLANCE)
        except TimeoutError as error:
            raise ServiceFailed(self._words("did not become ready")) from error

    def check(self) -> None:
        """Raises ServiceFailed when it is gone."""
        if self._process.poll() is not None:
            raise ServiceFailed(self._words("ended during the measurement"))

    def kill(self) -> None:
        # A service may have processes of its own: they are in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _words(self, what: str) -> str:
        return f"{self.name} {what}:\n{self._log.read_text(errors='replace')[-_LAST_WORDS:]}"


@asynccontextmanager
async def deployment(shape: Shape, *, under: Path | None = None) -> AsyncGenerator[Deployment]:
    """Everything of ``shape``, ready; nothing outlives the block. ``under``: where to store."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-", dir=under) as name:
        folder = Path(name)
        async with running_server(folder / "nats", durable=shape.durable) as server:
            services = _start(shape, server.url, folder)
            try:
                await asyncio.gather(*(one.ready() for group in services.values() for one in group))
                groups = {kind: [one.pid for one in group] for kind, group in services.items()}
                yield Deployment(
                    server.url, folder / "nats", {"nats-server": [server.pid], **groups}
                )
                for group in services.values():
                    for one in group:
                        one.check()
            finally:
                for group in services.values():
                    for one in group:
                        one.kill()


@asynccontextmanager
async def running_server(folder: Path, *, durable: bool) -> AsyncGenerator[EmbeddedServer]:
    """A nats-server over ``folder``, with room for what benchmarks store."""
    server = EmbeddedServer(folder, port=0, monitor_port=0, durable=durable)
    async with server:
        yield server


def _start(shape: Shape, url: str, folder: Path) -> dict[str, list[_Service]]:
    environment = clean_environment(folder) | {
        "NATS_URL": url,
        "PERDURE_IMPORT": _WORLD,
        "PERDURE_HEALTH_HOST": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
        **shape.settings,
    }
    return {
        kind: [_Service(kind, f"{kind}-{n}", environment, folder) for n in range(count)]
        for kind, count in shape.counts.items()
    }


def leashed(*command: str, user: int | None = None) -> list[str]:
    """The command, so that it dies with this process, as another user if one is named."""
    return [sys.executable, "-ISs", str(_LEASH), "-" if user is None else str(user), *command]


def clean_environment(home: Path) -> dict[str, str]:
    """The environment without what may be set for another NATS or another perdure."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PERDURE_", "NATS_"))
    }
    paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"XDG_CONFIG_HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _says_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n")
        return b" 200 " in (await reader.read()).partition(b"\r\n")[0]
    except OSError:
        return False
    finally:
        writer.close()
