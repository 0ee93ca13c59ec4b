"""The load generator as a process of its own: takes jobs, says how far it is, gives outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import IO, Any, Final

from harness.deployment import BENCHMARKS, clean_environment, leashed

OnProgress = Callable[[float], None]
_LIMIT: Final = 16 * 1024 * 1024
_LAST_WORDS: Final = 6_000


class JobFailed(Exception):
    """The load generator ended without an outcome."""


class LoadClient:
    """One process of the load generator, for one deployment."""

    def __init__(self, process: Process, complaints: IO[bytes]) -> None:
        self._process = process
        self._complaints = complaints
        assert process.stdin is not None and process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    async def tell(self, word: Mapping[str, Any]) -> None:
        self._stdin.write(json.dumps(word).encode() + b"\n")
        await self._stdin.drain()

    async def run(
        self, job: str, parameters: Mapping[str, Any], *, on_progress: OnProgress = lambda _: None
    ) -> dict[str, Any]:
        """The outcome of one job. Raises JobFailed with what the process said."""
        with contextlib.suppress(ConnectionError):  # It ended: its last words tell why.
            await self.tell({"job": job, "parameters": parameters})
        async for line in self._stdout:
            word = json.loads(line)
            if "outcome" in word:
                return word["outcome"]
            on_progress(word["progress"])
        code = await self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read()[-_LAST_WORDS:].decode(errors="replace")
        raise JobFailed(f"{job} ended with exit code {code}:\n{said}")


@asynccontextmanager
async def load_client(at: Mapping[str, Any], *, module: str = "load") -> AsyncGenerator[LoadClient]:
    """A load generator for what runs at a place; it ends with the block."""
    with tempfile.TemporaryFile() as complaints:
        process = await asyncio.create_subprocess_exec(
            *leashed(sys.executable, "-m", module),
            cwd=BENCHMARKS,
            env=clean_environment(BENCHMARKS),
            stdin=PIPE,
            stdout=PIPE,
            stderr=complaints,
            limit=_LIMIT,
        )
        client = LoadClient(process, complaints)
        try:
            await client.tell(at)
            yield client
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
