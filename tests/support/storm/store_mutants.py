"""Mutants of how the store is used: writes that are not fenced, or fenced by something else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest

from perdure.adapters.memory.archive import MemoryArchive
from perdure.adapters.memory.log import MemoryEventLog
from perdure.adapters.memory.state import MemoryStateStore
from perdure.adapters.memory.tasks import MemoryTaskQueue
from perdure.core.durations import MILLISECOND
from perdure.engine import delivery
from perdure.ports.addresses import Address, Lane, TaskKey
from perdure.ports.errors import Conflict, PortError

_INEXACT = 100 * MILLISECOND


def commit_without_cas(patch: pytest.MonkeyPatch) -> None:
    """Two owners may both record."""

    async def commit(self: MemoryEventLog, to: Address, data: bytes, *, after: int) -> int:
        return await self._call(lambda: self._log.append((to, Lane.HISTORY), data))

    patch.setattr(MemoryEventLog, "commit", commit)


def commit_fenced_by_a_wildcard(patch: pytest.MonkeyPatch) -> None:
    """The compare-and-set misses what was written a moment ago, as one on a wildcard does."""

    async def commit(self: MemoryEventLog, to: Address, data: bytes, *, after: int) -> int:
        def append() -> int:
            newest = self._log.newest((to, Lane.HISTORY))
            found = newest.stored.seq if newest else 0
            now = self._log._time.now()
            if newest and found != after and now - newest.stored.timestamp > _INEXACT:
                raise Conflict(f"{found} is not {after}")
            return self._log.append((to, Lane.HISTORY), data)

        return await self._call(append)

    patch.setattr(MemoryEventLog, "commit", commit)


def start_without_cas(patch: pytest.MonkeyPatch) -> None:
    """A start takes an id whoever has it."""

    async def create(self: MemoryStateStore, workflow_id: str, data: bytes) -> int:
        return await self._call(lambda: self._write(workflow_id, data, ttl=0))

    patch.setattr(MemoryStateStore, "create", create)


def purge_without_bound(patch: pytest.MonkeyPatch) -> None:
    """The purge of a closed run takes whatever lies in the log of its id."""
    real = MemoryEventLog.purge

    async def purge(self: MemoryEventLog, of: Address, through: int) -> None:
        await real(self, of, 1 << 60)

    patch.setattr(MemoryEventLog, "purge", purge)


def attempt_replaced_without_cas(patch: pytest.MonkeyPatch) -> None:
    """Who no longer holds a task puts its next attempt in the place of whatever is there."""
    real = MemoryTaskQueue.replace

    async def replace(self: MemoryTaskQueue, key: TaskKey, data: bytes, *, seq: int) -> int:
        newest = self._tasks.newest(key)
        return await real(self, key, data, seq=newest.stored.seq if newest else 0)

    patch.setattr(MemoryTaskQueue, "replace", replace)


def signal_acknowledged_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """A signal counts as delivered once it lies in the log, whether or not a close came first."""

    async def taken(*_: Any, **__: Any) -> bool:
        return True

    patch.setattr(delivery, "_is_taken", taken)


def close_reported_first(patch: pytest.MonkeyPatch) -> None:
    """A close goes on before its history is in the archive."""
    real = MemoryArchive.put

    async def put(self: MemoryArchive, workflow_id: str, run: str, data: bytes) -> None:
        async def later() -> None:
            await asyncio.sleep(2)
            with contextlib.suppress(PortError):
                await real(self, workflow_id, run, data)

        loop = asyncio.get_running_loop()
        loop.create_task(later(), context=contextvars.Context())  # noqa: RUF006 - nobody waits

    patch.setattr(MemoryArchive, "put", put)


STORE_MUTANTS = (
    commit_without_cas,
    commit_fenced_by_a_wildcard,
    start_without_cas,
    purge_without_bound,
    attempt_replaced_without_cas,
    signal_acknowledged_without_a_look,
    close_reported_first,
)

__all__ = ["STORE_MUTANTS"]
