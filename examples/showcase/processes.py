"""The demo's processes: started as an operator would, killed without a word, cleaned up always."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

EXAMPLES: Final = Path(__file__).resolve().parent.parent
_PATIENCE: Final = 30.0
_MODULES: Final = {
    "scheduler": "perdure_services.scheduler",
    "activity-worker": "perdure_services.activity_worker",
    "signal-gateway": "perdure_services.signal_gateway",
}


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


@dataclass
class Running:
    """One process of a service."""

    service: str
    process: subprocess.Popen[bytes]
    health_port: int
    log: Path
    started: float
    ready: float = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raises DemoError when it ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise DemoError(f"the {self.service} (pid {self.pid}) ended with exit code {code}")


class Processes:
    """Every process that was started here ends with the ``async with``, whatever happens."""

    def __init__(self, directory: Path, *, url: str, imports: str, extra: dict[str, str]) -> None:
        self._directory = directory
        self._environment = _environment(directory) | {
            "NATS_URL": url,
            "PERDURE_IMPORT": imports,
            "PERDURE_HEALTH_HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            **extra,
        }
        self._all: list[Running] = []

    async def start(self, *services: str) -> list[Running]:
        """Start them side by side; returns when each says that it is ready."""
        started = [self._spawn(service) for service in services]
        await asyncio.gather(*map(self._until_ready, started))
        return started

    def kill(self, one: Running) -> None:
        """SIGKILL: no goodbye, no flush, no hand-over."""
        one.process.kill()
        one.process.wait()

    def last_words(self) -> str:
        """The end of every process's log."""
        parts = [
            f"--- {one.service} (pid {one.pid}, exit code {one.process.poll()})\n"
            + "\n".join(one.log.read_text(errors="replace").splitlines()[-15:])
            for one in self._all
        ]
        return "\n".join(parts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        alive = [one.process for one in self._all if one.process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        for process in alive:
            try:
                # Not awaited: a second Ctrl-C must not leave anybody behind.
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, service: str) -> Running:
        port = _free_port()
        log = self._directory / f"{service}-{len(self._all)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", _MODULES[service]],
                cwd=EXAMPLES,
                env=self._environment | {"PERDURE_HEALTH_PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo, which ends them in order.
                start_new_session=True,
            )
        running = Running(service, process, port, log, time.monotonic())
        self._all.append(running)
        return running

    async def _until_ready(self, one: Running) -> None:
        deadline = one.started + _PATIENCE
        while not await asyncio.to_thread(_is_ready, one.health_port):
            one.check()
            if time.monotonic() > deadline:
                raise DemoError(f"the {one.service} was not ready within {_PATIENCE:g} s")
            await asyncio.sleep(0.05)
        one.ready = time.monotonic() - one.started


def _environment(directory: Path) -> dict[str, str]:
    """The environment without what may be set for another NATS or another perdure."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PERDURE_", "NATS_"))
    }
    return kept | {"XDG_CONFIG_HOME": str(directory)}


def _is_ready(port: int) -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
