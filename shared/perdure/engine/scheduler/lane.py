"""One workflow id's turns, strictly one after the other, while other ids have theirs.

A conflict or an unknown outcome drops the run from memory: the log decides, and is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from perdure.core.durations import SECOND
from perdure.core.errors import SerializationError
from perdure.core.events import NewerEvent
from perdure.core.records import NewerRecord
from perdure.engine.history import HistoryGone
from perdure.engine.scheduler import blocking
from perdure.engine.scheduler.beginning import Begun, begin, bring_in, go_on_blocked
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.desk import Desk
from perdure.engine.scheduler.effects import dead_letter_garbage
from perdure.engine.scheduler.leftovers import keep_young, purge_leftover
from perdure.engine.scheduler.live import Item, LiveRun
from perdure.engine.scheduler.opening import Blocked
from perdure.engine.scheduler.pending import collect, has_pending, is_before, is_of_another_run
from perdure.engine.scheduler.turns import FIRST_PAUSE, LONGEST_PAUSE, apply, commit
from perdure.ports.addresses import Address
from perdure.ports.errors import Conflict, PortError
from perdure.ports.log import Delivery

_SHARE = 100
"""Events without a command that may share one record."""
_START_PATIENCE = 1.0


class WorkflowLane:
    """Takes deliveries of one workflow id and sees them through. ``on_rest`` is called when there is
    nothing left to do."""

    def __init__(
        self, context: Context, address: Address, *, on_rest: Callable[[Address], None]
    ) -> None:
        self._desk = Desk(context, address)
        self._context = context
        self._on_rest = on_rest
        self._task: asyncio.Task[None] | None = None
        self._wake_at: asyncio.TimerHandle | None = None
        self._parked = False
        self._pause = FIRST_PAUSE
        self._changed: asyncio.Event | None = None
        self._wanted = 0
        self._stopped = False

    @property
    def live(self) -> LiveRun | None:
        """The run, while it is in memory."""
        return self._desk.live

    @property
    def blocked(self) -> str:
        """Why this build cannot go on, or nothing."""
        return self._desk.blocked

    @property
    def is_idle(self) -> bool:
        return self._task is None and not self._desk.held and not self._wanted

    @property
    def is_empty(self) -> bool:
        """Whether nothing is lost when the lane is forgotten: its id has no run, or none here."""
        return self.live is None and not self.blocked and self.is_idle

    def offer(self, delivery: Delivery) -> None:
        self._desk.held[delivery.message.seq] = delivery
        if self._parked:
            # With its timer: while one stands, no other is set.
            self._parked = False
            self._forget_timer()
        self._wake()

    def extend_leases(self) -> None:
        for delivery in self._desk.held.values():
            delivery.extend()

    async def bring_in(self, *, anew: bool = False) -> None:
        """Have the run in memory if there is one: a sweep, or somebody who asks. ``anew``: as the
        log has it now."""
        self._wanted += 1
        try:
            while self._task is not None and (anew or self.live is None):
                await self._next_change()
            if anew:
                self.drop()
            if self.live is None and not self._stopped:
                self._task = asyncio.get_running_loop().create_task(self._work(load=True))
                await asyncio.shield(self._task)
        finally:
            self._wanted -= 1

    async def settled(self, seq: int, timeout: float) -> bool:
        """Wait until the event ``seq`` is recorded, or the run is not in memory any more."""
        self._wanted += 1
        try:
            async with asyncio.timeout(timeout):
                while self.live is not None and seq not in self.live.named:
                    if self.live.unrecorded:
                        self._desk.flush = True
                        self._wake()
                    await self._next_change()
            return True
        except TimeoutError:
            return False
        finally:
            self._wanted -= 1

    async def stop(self) -> None:
        """Finish the turn under way; give back what is not recorded."""
        self._stopped = self._desk.stopping = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        for delivery in self._desk.held.values():
            delivery.nak()
        self._desk.held.clear()
        self.drop()

    def forget_the_past(self, tip: int) -> bool:
        """Drop the run when somebody else recorded ``tip`` after what this lane knows. False: it is
        at work, and will find out."""
        if self.live is None or self.live.tip >= tip:
            return True
        if self._task is not None:
            return False
        self._desk.drop_and_load()
        return True

    async def change(self, timeout: float) -> None:
        """Wait for a step of the work under way, but not for long."""
        try:
            async with asyncio.timeout(timeout):
                await self._next_change()
        except TimeoutError:
            return

    def drop(self) -> None:
        """Forget the run in memory; the log has it."""
        self._forget_timer()
        self._parked = False
        self._desk.drop()

    def _wake(self) -> None:
        if self._task is None and not self._stopped:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self, *, load: bool = False) -> None:
        try:
            if load and self.live is None:
                self._desk.blocked = ""
                await self._guarded(bring_in(self._desk))
            while not self._stopped and self._has_work():
                await self._guarded(self._turn())
                self._notify()
        except Exception as error:  # noqa: BLE001
            # A fault of the engine itself: this id waits, the others go on, the log loses nothing.
            logger.exception("workflow %r: a turn failed unexpectedly", self._id)
            self._context.observer.failed(error)
            self._desk.drop_and_load()
            self._park(LONGEST_PAUSE)
        except BaseException:
            # The process ends: who still waits for this lane must not set it to work again.
            self._stopped = True
            raise
        finally:
            self._task = None
            self._notify()
        if not self._stopped and self._has_work():
            self._wake()
        else:
            self._on_rest(self._desk.address)

    def _has_work(self) -> bool:
        return not self._parked and has_pending(self._desk)

    async def _turn(self) -> None:
        desk = self._desk
        items = collect(desk)
        flush, desk.flush = desk.flush, False
        if desk.blocked:
            await go_on_blocked(desk, items)
            return
        if desk.live is None:
            match await begin(desk, items):
                case Begun.READY:
                    pass
                case Begun.AGAIN:
                    return
                case Begun.WAIT:
                    self._park(_START_PATIENCE)
                    return
        live = desk.live
        assert live is not None
        desk.first = []
        await apply(desk, live, await self._addressed_to(live, items))
        if not live.unrecorded:
            return
        if live.commands or flush or live.joined or len(live.unrecorded) >= _SHARE or not live.k:
            await commit(desk, live)
        else:
            self._flush_soon()

    async def _addressed_to(self, live: LiveRun, items: list[Item]) -> list[Item]:
        """The items that need a record of this run; the rest is acknowledged.

        An event of another run says that either it or this memory is out of date, and only the log
        knows which: raises Conflict when it is the memory.
        """
        forged = [item for item in items if item.is_forged]
        if forged:
            await dead_letter_garbage(self._context, self._desk.address, forged)
        strange = [item for item in items if is_of_another_run(live, item)]
        if strange:
            tip = await self._context.backend.log.tip(self._desk.address)
            if (0 if tip is None else tip.seq) != live.tip:
                raise Conflict(f"workflow {self._id!r} went on elsewhere")
            known = keep_young(self._desk, strange)
            young = [item for item in strange if item not in known]
            items = [item for item in items if item not in young]
        done = [
            item
            for item in items
            if item in strange or item.seq in live.named or is_before(live, item) or item in forged
        ]
        if not done:
            return items
        self._desk.ack(done)
        return [item for item in items if item not in done]

    async def _guarded(self, step: Coroutine[Any, Any, None]) -> None:
        """One step; whatever goes wrong with the store, the log is read again."""
        try:
            await step
            self._pause = FIRST_PAUSE
            return
        except Conflict:
            self._context.observer.conflict()
        except Blocked as blocked:
            await self._block(blocked)
        except (SerializationError, NewerEvent, NewerRecord) as error:
            # A payload's blob is gone or garbled, or what lies there is for a newer build.
            await self._block(Blocked(str(error)))
        except (PortError, HistoryGone) as error:
            await self._wait_out(error)
        self._desk.drop_and_load()

    async def _wait_out(self, error: PortError | HistoryGone) -> None:
        self._context.met(error)
        logger.warning("workflow %r: %r; trying again", self._id, error)
        if isinstance(error, HistoryGone):
            try:
                await purge_leftover(self._context, self._desk.address)
            except PortError as failed:
                self._context.met(failed)
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _block(self, blocked: Blocked) -> None:
        desk = self._desk
        try:
            desk.blocked_run = await blocking.block(self._context, desk.address, blocked)
        except PortError as error:
            # Nothing may be acknowledged because of a mark that is not there.
            await self._wait_out(error)
            return
        desk.blocked, desk.left = blocked.reason, {}

    @property
    def _id(self) -> str:
        return self._desk.address.workflow_id

    def _flush_soon(self) -> None:
        def flush() -> None:
            self._wake_at = None
            self._desk.flush = True
            self._wake()

        if self._wake_at is None:
            delay = self._context.options.defer / SECOND
            self._wake_at = asyncio.get_running_loop().call_later(delay, flush)

    def _park(self, delay: float) -> None:
        """Leave what is held alone until something comes, or for ``delay`` seconds."""

        def unpark() -> None:
            self._wake_at = None
            self._parked = False
            self._wake()

        self._parked = True
        self._forget_timer()
        self._wake_at = asyncio.get_running_loop().call_later(delay, unpark)

    def _forget_timer(self) -> None:
        if self._wake_at is not None:
            self._wake_at.cancel()
            self._wake_at = None

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()
