"""What an engine has to have to be measured, and how its processes are started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.deployment import BENCHMARKS, clean_environment, leashed

Once = Callable[[str], Awaitable[str]]
"""Runs one workflow of one step under an id, and returns its result."""

_READY_WITHIN: Final = 120.0
_GLANCE: Final = 0.1
_LAST_WORDS: Final = 3_000


@dataclass(frozen=True)
class Place:
    """Where a running engine is found, and its processes by what they are."""

    address: str
    groups: dict[str, list[int]]


class Peer(Protocol):
    """An engine under the load: ``running`` in the process that measures, ``client`` in the load's."""

    @property
    def title(self) -> str: ...
    @property
    def durability(self) -> str:
        """What an acknowledgement means."""
        ...

    @property
    def step(self) -> str:
        """Where the step's code runs."""
        ...

    def missing(self) -> str:
        """What has to be installed first; empty when it can run."""
        ...

    def running(self, folder: Path) -> AbstractAsyncContextManager[Place]: ...

    def client(self, address: str) -> AbstractAsyncContextManager[Once]: ...


class PeerFailed(Exception):
    """A process of another engine ended, or never answered."""


class PeerProcess:
    """One process of another engine."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self._name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                leashed(*command, user=user),
                cwd=BENCHMARKS,
                env=clean_environment(folder) | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Wait until ``ready``. Raises PeerFailed with what the process said."""
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while not await ready():
                    if self._process.poll() is not None:
                        raise PeerFailed(self._words("ended while starting"))
                    await asyncio.sleep(_GLANCE)
        except TimeoutError as error:
            raise PeerFailed(self._words("did not answer")) from error

    async def listens(self, port: int) -> None:
        """Wait until somebody takes connections there."""

        async def connects() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await self.until(connects)

    async def says(self, text: str) -> None:
        """Wait until its output holds ``text``."""

        async def said() -> bool:
            return text in self._log.read_text(errors="replace")

        await self.until(said)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _words(self, what: str) -> str:
        return f"{self._name} {what}:\n{self._log.read_text(errors='replace')[-_LAST_WORDS:]}"
