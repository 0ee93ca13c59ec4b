"""The services as processes of their own: started, watched, paused, killed, always cleaned up.

Each is on a leash (it dies with the test's process) and in a process group of its own; what it said
is added to whatever makes the test fail.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from support.nats_server import free_port
from support.polling import until

Kind = Literal["scheduler", "worker", "gateway"]

ROOT: Final = Path(__file__).resolve().parents[2]
LEASH: Final = Path(__file__).with_name("leash.py")
JOURNEYS: Final = "support.journeys"
_MODULES: Final[dict[Kind, str]] = {
    "scheduler": "perdure_services.scheduler",
    "worker": "perdure_services.activity_worker",
    "gateway": "perdure_services.signal_gateway",
}
KINDS: Final[tuple[Kind, ...]] = ("scheduler", "worker", "gateway")
_HEALTH_PORTS: Final = 20_000
_SERVES: Final = "serves namespace"
_READY_WITHIN: Final = 60.0
_END_WITHIN: Final = 45.0
_LOOK: Final = 0.03
_LAST_WORDS: Final = 6_000


@dataclass(frozen=True)
class Deed:
    """One line that an activity left, when, and which of the processes here it was in."""

    line: str
    time: float
    pid: int


class Process:
    """One service process, or what is left of it."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        environment: dict[str, str],
        log: Path,
        port: int,
        module: str = "",
    ) -> None:
        self.kind: Kind = kind
        self.name = name
        self.module = module or _MODULES[kind]
        self.environment = environment
        self.log_path = log
        self.health_port = port
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-ISs", str(LEASH), sys.executable, "-m", self.module],
                cwd=ROOT / "tests",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL: no goodbye, no flush, no hand-over."""
        if self._popen.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def pause(self) -> None:
        """As a machine that hangs: it keeps its connections and says nothing."""
        os.killpg(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, as an operator's deployment does; see :meth:`ended`."""
        self._popen.send_signal(signal.SIGTERM)

    async def ended(self, timeout: float = _END_WITHIN) -> int:
        """The exit code, once there is one."""
        await until(lambda: not self.alive, f"the end of {self.name}", seconds=timeout)
        return self._popen.wait()

    async def says(self, text: str, *, timeout: float = _READY_WITHIN) -> None:
        """Wait until its log holds ``text``."""

        def said() -> bool:
            assert text in self.log or self.alive, f"{self.name} ended first"
            return text in self.log

        await until(said, f"{self.name} says {text!r}", seconds=timeout)

    async def ready(self, timeout: float = _READY_WITHIN) -> None:
        """Wait until ``/readyz`` says so."""
        async with asyncio.timeout(timeout):
            while True:
                status, _ = await health_page(self.health_port)
                assert self.alive, f"{self.name} ended before it was ready:\n{self.log}"
                # Its own word too: somebody else may answer there.
                if status == 200 and _SERVES in self.log:
                    return
                await asyncio.sleep(_LOOK)


class Deployment:
    """Service processes of one namespace on one server. Made by :func:`deployment`."""

    def __init__(self, folder: Path, url: str, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.effects_path = folder / "effects.txt"
        self.processes: list[Process] = []
        self._environment = _bare(folder) | {
            "NATS_URL": url,
            "PERDURE_HEALTH_HOST": "127.0.0.1",
            "PERDURE_TEST_EFFECTS": str(self.effects_path),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }

    def spawn(self, kind: Kind, name: str = "", *, module: str = "", **environment: str) -> Process:
        """Start one and return at once. Its name is its identity; ``module`` another composition of
        the service than the product's."""
        name = name or kind
        port = free_port(first=_HEALTH_PORTS)
        own = {"PERDURE_IDENTITY": name, "PERDURE_HEALTH_PORT": str(port), **environment}
        log = self.folder / f"{len(self.processes)}-{name}.log"
        process = Process(kind, name, self._environment | own, log, port, module)
        self.processes.append(process)
        return process

    async def start(
        self, kind: Kind, name: str = "", *, module: str = "", **environment: str
    ) -> Process:
        """Start one and return when it is ready."""
        process = self.spawn(kind, name, module=module, **environment)
        await process.ready()
        return process

    async def start_all(self, *kinds: Kind) -> dict[Kind, Process]:
        """One of each (else all three), side by side; returns when all are ready."""
        wanted = kinds or KINDS
        made: dict[Kind, Process] = {kind: self.spawn(kind) for kind in wanted}
        await asyncio.gather(*(process.ready() for process in made.values()))
        return made

    async def restart(self, process: Process, **environment: str) -> Process:
        """Another one in its place, after :meth:`Process.kill` or its end."""
        assert not process.alive
        return await self.start(process.kind, process.name, module=process.module, **environment)

    def kill_all(self) -> None:
        for process in self.processes:
            process.kill()

    def deeds(self) -> list[Deed]:
        """What activities did, in the order in which they did it."""
        if not self.effects_path.exists():
            return []
        lines = [line.split("\t") for line in self.effects_path.read_text().splitlines()]
        return [Deed(line, float(time), int(pid)) for line, time, pid in lines]

    def effects(self) -> list[str]:
        """As :meth:`deeds`, only the lines."""
        return [deed.line for deed in self.deeds()]

    async def did(self, line: str, *, times: int = 1, timeout: float = 60.0) -> None:
        """Wait until an activity left this line, so often."""
        await until(
            lambda: self.effects().count(line) >= times, f"{times}x {line!r}", seconds=timeout
        )

    def last_words(self) -> str:
        """The end of every process's log."""
        return "\n".join(
            f"--- {process.name} (pid {process.pid}, exit code {process.exit_code})\n"
            f"{process.log[-_LAST_WORDS:]}"
            for process in self.processes
        )


@asynccontextmanager
async def deployment(
    folder: Path,
    url: str,
    *,
    namespace: str = "default",
    imports: str = JOURNEYS,
    **environment: str,
) -> AsyncGenerator[Deployment]:
    """Nothing started on it outlives the block; a failure carries everybody's last words."""
    own = {"PERDURE_NAMESPACE": namespace, "PERDURE_IMPORT": imports, **environment}
    made = Deployment(folder, url, own)
    try:
        yield made
    except BaseException as error:
        error.add_note(made.last_words())
        raise
    finally:
        made.kill_all()


async def health_page(port: int, path: str = "/readyz") -> tuple[int, str]:
    """The status and text of a health page; (0, "") while nobody listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0, ""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        answer = (await reader.read()).decode()
    except OSError:
        return 0, ""
    finally:
        writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    words = head.split()
    return (int(words[1]), body) if len(words) > 1 else (0, "")


def _bare(folder: Path) -> dict[str, str]:
    """The environment without what may be set for another NATS or another perdure."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PERDURE_", "NATS_"))
    }
    paths = [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"XDG_CONFIG_HOME": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
