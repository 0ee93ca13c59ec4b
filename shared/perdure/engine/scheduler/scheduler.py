"""The scheduler: partitions in, lanes of workflows, a bounded cache of runs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Self

from perdure.core.durations import SECOND
from perdure.core.ids import SLOTS
from perdure.core.payloads import PayloadConverter
from perdure.engine.payloads import LimitedConverter, PayloadStore
from perdure.engine.scheduler.context import Context, SchedulerOptions, WorkflowRegistry
from perdure.engine.scheduler.lane import WorkflowLane
from perdure.engine.scheduler.observing import Observer
from perdure.engine.scheduler.ownership import Ownership
from perdure.engine.scheduler.purging import Purger
from perdure.engine.scheduler.questions import Clerk
from perdure.engine.scheduler.short_timers import ShortTimers
from perdure.engine.scheduler.sweeping import Sweeper
from perdure.engine.scheduler.watch import TurnWatch
from perdure.ports.addresses import Address
from perdure.ports.backend import Backend
from perdure.ports.log import Delivery, Subscription


async def all_opened(openings: Sequence[Awaitable[Subscription]]) -> list[Subscription]:
    """Every subscription, or none and the first error."""
    results = await asyncio.gather(*openings, return_exceptions=True)
    opened = [result for result in results if not isinstance(result, BaseException)]
    for result in results:
        if isinstance(result, BaseException):
            await asyncio.gather(*(one.close() for one in opened), return_exceptions=True)
            raise result
    return opened


class Scheduler:
    """Runs the workflows of one task queue; several share its partitions.

    ``reclaim``: it comes in the place of one of the same identity that is known to be dead.
    ``async with`` starts it and, on the way out, stops it gracefully: turns under way end, the rest
    is handed over.
    """

    def __init__(
        self,
        backend: Backend,
        registry: WorkflowRegistry,
        *,
        converter: PayloadConverter,
        options: SchedulerOptions | None = None,
        observer: Observer | None = None,
        watch: TurnWatch | None = None,
        reclaim: bool = False,
        refused: frozenset[str] = frozenset(),
    ) -> None:
        options = options or SchedulerOptions()
        self.context = Context(
            backend=backend,
            registry=registry,
            converter=LimitedConverter(converter),
            payloads=PayloadStore(backend.blobs),
            options=options,
            short_timers=ShortTimers(backend.timers, backend.clock),
            purger=Purger(backend.log, grace=options.purge_grace),
            observer=observer or Observer(),
            watch=watch,
            refused=refused,
        )
        self._reclaim = reclaim
        self._lanes: OrderedDict[Address, WorkflowLane] = OrderedDict()
        self._subscriptions: dict[int, list[Subscription]] = {}
        self._clerk = Clerk(self.context, self.lane_of)
        self._ownership = Ownership(self.context, take=self._take, give_up=self._give_up)
        self._sweeper = Sweeper(self.context, self.lane_of, self.is_mine)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def owned(self) -> set[int]:
        """The partitions served now."""
        return set(self._ownership.owned)

    @property
    def cached(self) -> int:
        """Runs in memory."""
        return sum(1 for lane in self._lanes.values() if lane.live is not None)

    async def __aenter__(self) -> Self:
        await self._ownership.join()
        self._reclaim = False
        loop = asyncio.get_running_loop()
        for work in (
            self._ownership.run(),
            self._sweeper.run(),
            self.context.purger.run(),
            self._keep_leases(),
        ):
            self._tasks.append(loop.create_task(work))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for partition in list(self._ownership.owned):
            self._ownership.owned.discard(partition)
            await self._give_up(partition)
        await self._ownership.leave()
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))
        self._lanes.clear()
        self.context.short_timers.close()

    async def run(self) -> None:
        """Serve until cancelled, then stop gracefully."""
        async with self:
            await asyncio.Event().wait()

    def lane_of(self, address: Address) -> WorkflowLane:
        lane = self._lanes.get(address)
        if lane is None:
            lane = self._lanes[address] = WorkflowLane(self.context, address, on_rest=self._rest)
        else:
            self._lanes.move_to_end(address)
        return lane

    def is_mine(self, address: Address) -> bool:
        return self._partition_of(address) in self._ownership.owned

    def _partition_of(self, address: Address) -> int:
        return address.slot * self.context.backend.partitions // SLOTS

    # deliveries

    def _on_delivery(self, delivery: Delivery) -> None:
        self.context.backend.clock.observe(delivery.message.timestamp)
        self.lane_of(delivery.address).offer(delivery)

    def _rest(self, address: Address) -> None:
        lane = self._lanes.get(address)
        if lane is not None and lane.is_empty:
            del self._lanes[address]
        self._evict()

    def _evict(self) -> None:
        """Drop the runs that were idle for longest; those at work stay whatever the limit."""
        for _ in range(len(self._lanes) - self.context.options.max_cached):
            address, lane = next(iter(self._lanes.items()))
            if lane.is_idle:
                lane.drop()
                del self._lanes[address]
            else:
                self._lanes.move_to_end(address)

    async def _keep_leases(self) -> None:
        """Deliveries that wait for the store or for their turn keep their lease."""
        while True:
            await asyncio.sleep(self.context.backend.lease / 3 / SECOND)
            for lane in list(self._lanes.values()):
                lane.extend_leases()

    # partitions

    async def _take(self, partition: int) -> None:
        backend, options = self.context.backend, self.context.options
        per = SLOTS // backend.partitions
        answers = [
            backend.messages.answer((topic, options.task_queue, str(slot)), answer)
            for slot in range(partition * per, (partition + 1) * per)
            for topic, answer in (("query", self._clerk.query), ("describe", self._clerk.describe))
        ]
        opened = self._subscriptions[partition] = await all_opened(answers)
        inbox = backend.inbox.open(
            options.task_queue,
            partition,
            self._on_delivery,
            credit=options.credit,
            reclaim=self._reclaim,
        )
        try:
            opened.append(await inbox)
        except BaseException:
            await self._give_up(partition)
            raise
        self._sweeper.again()

    async def _give_up(self, partition: int) -> None:
        for subscription in reversed(self._subscriptions.pop(partition, [])):
            await subscription.close()
        mine = [
            (address, lane)
            for address, lane in self._lanes.items()
            if self._partition_of(address) == partition
        ]
        await asyncio.gather(*(lane.stop() for _, lane in mine))
        for address, _ in mine:
            self._lanes.pop(address, None)
