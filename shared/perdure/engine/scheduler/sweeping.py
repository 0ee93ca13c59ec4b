"""Finishing what a crash left: unfinished starts, blocked runs that this build may go on with,
closed logs whose purge died with its process, timers that a full store left stuck. When a scheduler
takes partitions, and hourly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.core.durations import DAY, HOUR, SECOND
from perdure.core.state import StateEntry, decode_state
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.lane import WorkflowLane
from perdure.engine.starts import finish_start
from perdure.ports.addresses import Address
from perdure.ports.errors import PortError

_UNFINISHED = 2 * SECOND
_OVERDUE = 5 * SECOND
_LEFTOVER = DAY
"""A log that was closed longer ago than this was purged, or its scheduler has been away for a day."""


class Sweeper:
    """Sweeps the partitions that this scheduler serves."""

    def __init__(
        self,
        context: Context,
        lane_of: Callable[[Address], WorkflowLane],
        is_mine: Callable[[Address], bool],
    ) -> None:
        self._context = context
        self._lane_of = lane_of
        self._is_mine = is_mine
        self._wanted = asyncio.Event()
        self._wanted.set()

    def again(self) -> None:
        """Sweep soon: partitions came, or the store had failed."""
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(HOUR / SECOND):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self.sweep_entries()
                await self.sweep_timers()
            except PortError as error:
                logger.warning("the sweep was cut short: %s; trying again", error)
                await asyncio.sleep(5)
                self._wanted.set()

    async def sweep_entries(self) -> None:
        backend = self._context.backend
        queue = self._context.options.task_queue
        async for data, revision in backend.state.scan():
            entry = decode_state(data)
            address = Address(entry.task_queue, entry.workflow_id)
            if entry.task_queue != queue or not self._is_mine(address):
                continue
            if not entry.is_open:
                await self._purge_leftover(address, entry)
            elif entry.blocked:
                await self._lane_of(address).bring_in()
            elif self._is_unfinished(entry) and await backend.log.tip(address) is None:
                await finish_start(backend, entry, revision)

    async def _purge_leftover(self, address: Address, entry: StateEntry) -> None:
        backend = self._context.backend
        if backend.clock.now() - entry.closed_at > _LEFTOVER:
            return
        tip = await backend.log.tip(address)
        if tip is not None and tip.seq <= entry.closed_seq:
            self._context.purger.later(address, entry.closed_seq)

    def _is_unfinished(self, entry: StateEntry) -> bool:
        age = self._context.backend.clock.now() - entry.started_at
        return entry.starting is not None and age > _UNFINISHED

    async def sweep_timers(self) -> None:
        timers = self._context.backend.timers
        async for key in timers.overdue(self._context.backend.clock.now() - _OVERDUE):
            await timers.rearm(key)
            workflow_id = key.address.workflow_id
            logger.warning(
                "timer %s of workflow %r was stuck and is free again", key.n, workflow_id
            )
