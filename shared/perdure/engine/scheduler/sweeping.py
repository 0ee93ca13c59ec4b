"""Finishing what a crash left: unfinished starts, blocked runs that this build may go on with,
closed logs whose purge died with its process, timers that a full store left stuck. When a scheduler
takes partitions, and hourly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.core.durations import DAY, HOUR, SECOND
from perdure.core.records import NewerRecord, decode_record
from perdure.core.state import StateEntry, decode_state
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.lane import WorkflowLane
from perdure.engine.scheduler.leftovers import last_of
from perdure.engine.starts import finish_start
from perdure.ports.addresses import Address

_UNFINISHED = 2 * SECOND
_OVERDUE = 5 * SECOND
_AFTER_FULL = 10.0
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
        self._whole = True
        context.sweep.set()

    def again(self) -> None:
        """Sweep soon: partitions came."""
        self._whole = True
        self._context.sweep.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause = HOUR / SECOND
        while True:
            if await self._woken(pause) and self._context.was_full.is_set():
                # Nobody says when there is room again: look soon, and then more and more rarely.
                self._context.was_full.clear()
                pause = _AFTER_FULL
                if not self._whole:
                    continue
            whole = self._whole or pause >= HOUR / SECOND
            self._whole = False
            try:
                if whole:
                    await self.sweep_entries()
                await self.sweep_timers()
            except Exception as error:  # noqa: BLE001
                # Whatever it is, the next sweep is as necessary as this one.
                self._context.met(error)
                logger.warning("the sweep was cut short: %r; trying again", error)
                self._whole = self._whole or whole
                await asyncio.sleep(5)
                self._context.sweep.set()
                continue
            pause = min(pause * 2, HOUR / SECOND)

    async def _woken(self, pause: float) -> bool:
        wanted = self._context.sweep
        try:
            async with asyncio.timeout(pause):
                await wanted.wait()
        except TimeoutError:
            return False
        wanted.clear()
        return True

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
            elif entry.blocked or entry.blocked_build:
                # With the word taken away as well: what lies in the log is offered to nobody.
                await self._lane_of(address).bring_in(anew=True)
            elif self._is_unfinished(entry) and not await self._has_begun(address, entry.run):
                await finish_start(backend, entry, revision)

    async def _purge_leftover(self, address: Address, entry: StateEntry) -> None:
        backend = self._context.backend
        if backend.clock.now() - entry.closed_at > _LEFTOVER:
            return
        tip = await backend.log.tip(address)
        if tip is not None and tip.seq <= entry.closed_seq:
            through = await last_of(self._context, address, entry.closed_seq)
            again = await backend.state.read(entry.workflow_id)
            if again is not None and decode_state(again[0]).run == entry.run:
                self._context.purger.later(address, through)

    async def _has_begun(self, address: Address, run: str) -> bool:
        tip = await self._context.backend.log.tip(address)
        if tip is None:
            return False
        try:
            return decode_record(tip.data).run == run
        except NewerRecord:
            return True

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
