"""One workflow id's turns, strictly one after the other.

A turn applies what is pending, commits one record that names it, performs the record's commands,
and only then acknowledges (rules 1 and 3 of the log). A conflict or an unknown outcome drops the
run from memory: the log decides, and is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from perdure.core.durations import SECOND
from perdure.core.events import (
    ActivityCanceled,
    ActivityCompleted,
    ActivityFailed,
    Event,
    NewerEvent,
    TimerFired,
    WorkflowStarted,
    WorkflowTerminateRequested,
)
from perdure.core.records import Record, encode_record
from perdure.core.state import StateEntry, decode_state
from perdure.engine.history import HistoryGone, RunHistory, Turn, load_history, readable
from perdure.engine.payloads import INLINE_LIMIT, blob_prefix, may_hold_ref
from perdure.engine.scheduler import blocking, closing
from perdure.engine.scheduler.context import Context, logger
from perdure.engine.scheduler.effects import dead_letter_garbage, perform, together
from perdure.engine.scheduler.live import (
    COMPLETING_RANK,
    ENGINE_RANK,
    EXTERNAL_RANK,
    START_RANK,
    Item,
    LiveRun,
)
from perdure.engine.scheduler.opening import (
    Blocked,
    Ended,
    Opened,
    fresh,
    open_run,
    state_of,
    unstarted,
)
from perdure.engine.starts import finish_start
from perdure.ports.addresses import Address, Lane, Stored
from perdure.ports.errors import Conflict, PortError, UnknownOutcome
from perdure.ports.log import Delivery

_LATE_START = 30 * SECOND
_SHARE = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_MARK_AFTER = 1.0
_START_PATIENCE = 1.0


class WorkflowLane:
    """The deliveries of one workflow id, and its run while it is in memory."""

    def __init__(
        self, context: Context, address: Address, *, on_rest: Callable[[], None]
    ) -> None:
        self.address = address
        self.live: LiveRun | None = None
        self.blocked: str = ""
        self.held: dict[int, Delivery] = {}
        self._context = context
        self._on_rest = on_rest
        self._backend = context.backend
        self._first: list[Item] = []
        self._tip = 0
        self._ended = ""
        self._blocked_run = ""
        self._must_load = False
        self._parked = False
        self._task: asyncio.Task[None] | None = None
        self._wake_at: asyncio.TimerHandle | None = None
        self._mark_at: asyncio.TimerHandle | None = None
        self._flush = False
        self._pause = _FIRST_PAUSE
        self._changed = asyncio.Event()
        self._wanted = 0
        self._stopped = False

    # what the scheduler calls

    def offer(self, delivery: Delivery) -> None:
        self.held[delivery.message.seq] = delivery
        self._parked = False
        self.wake()

    def wake(self) -> None:
        if self._task is None and not self._stopped:
            self._task = asyncio.get_running_loop().create_task(self._work())

    @property
    def is_idle(self) -> bool:
        return self._task is None and not self.held and not self._wanted

    def extend_leases(self) -> None:
        for delivery in self.held.values():
            delivery.extend()

    async def bring_in(self) -> None:
        """Have the run in memory if there is one: a sweep, or somebody who asks."""
        self._wanted += 1
        try:
            while self._task is not None:
                await self._wait_change()
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
                    self._flush = True
                    self.wake()
                    await self._wait_change()
            return True
        except TimeoutError:
            return False
        finally:
            self._wanted -= 1

    async def stop(self) -> None:
        """Finish the turn under way; give back what is not recorded."""
        self._stopped = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        for delivery in self.held.values():
            delivery.nak()
        self.held.clear()
        self.drop()

    def drop(self) -> None:
        """Forget the run in memory; the log has it."""
        for handle in (self._wake_at, self._mark_at):
            if handle is not None:
                handle.cancel()
        self._wake_at = self._mark_at = None
        if self.live is not None:
            self.live.instance.dispose()
            self.live = None
        self._first = []
        self._flush = False

    # the work

    async def _work(self, *, load: bool = False) -> None:
        try:
            if load and self.live is None:
                self.blocked = ""
                await self._guarded(self._bring_in())
            while not self._stopped and self._has_work():
                await self._guarded(self._turn())
        finally:
            self._task = None
            self._notify()
            if not self._stopped and self._has_work():
                self.wake()
            else:
                self._on_rest()

    async def _guarded(self, step: Coroutine[Any, Any, None]) -> None:
        """One step; whatever goes wrong with the store, the log is read again."""
        try:
            await step
            self._pause = _FIRST_PAUSE
            return
        except Conflict:
            self._context.observer.conflict()
        except Blocked as blocked:
            await self._block(blocked)
        except (PortError, HistoryGone) as error:
            self._context.observer.failed(error)
            logger.warning("workflow %r: %r; trying again", self.address.workflow_id, error)
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self.drop()
        self._must_load = True

    async def _block(self, blocked: Blocked) -> None:
        self.blocked = blocked.reason
        try:
            await blocking.block(self._context, self.address, blocked)
        except PortError as error:
            self._context.observer.failed(error)

    def _has_work(self) -> bool:
        if self._parked:
            return False
        live = self.live
        if live is None:
            return bool(self.held)
        if self._first or (self._flush and live.unrecorded):
            return True
        return len(self.held) > len(live.unrecorded) and any(
            not self._is_applied(seq) for seq in self.held
        )

    def _is_applied(self, seq: int) -> bool:
        live = self.live
        return live is not None and any(item.seq == seq for item in live.unrecorded)

    def _pending(self) -> list[Item]:
        """What the next turn applies, in its order. Raises Blocked for a newer build's event."""
        items = list(self._first)
        known = {item.seq for item in items}
        for seq, delivery in self.held.items():
            if seq not in known and not self._is_applied(seq):
                items.append(self._item(delivery))
        items.sort(key=lambda item: (item.rank, 0 if item.rank == COMPLETING_RANK else item.seq))
        return items

    def _item(self, delivery: Delivery) -> Item:
        message = delivery.message
        if self.blocked:
            # Nothing is read on behalf of a build that cannot: only a termination moves the run.
            event = _readable_anyway(message.data)
        else:
            try:
                event = readable(message.data)
            except NewerEvent as error:
                raise Blocked(str(error)) from error
        rank = EXTERNAL_RANK if delivery.lane is Lane.EXTERNAL else ENGINE_RANK
        if isinstance(event, WorkflowStarted):
            rank = START_RANK
        return Item(
            message.seq, message.timestamp, message.data, event, delivery.lane, delivery, rank
        )

    async def _turn(self) -> None:
        items = self._pending()
        self._flush, flush = False, self._flush
        if self.blocked:
            await self._while_blocked(items)
            return
        if self.live is None and not await self._begin(items):
            return
        live = self.live
        assert live is not None
        self._first = []
        await self._apply(live, [item for item in items if not self._is_settled(live, item)])
        if not live.unrecorded:
            return
        if live.commands or flush or len(live.unrecorded) >= _SHARE or not live.k:
            await self._commit(live)
        else:
            self._flush_soon()

    def _is_settled(self, live: LiveRun, item: Item) -> bool:
        """Whether the event needs no record: named before, or of another run."""
        event = item.event
        other = (
            event is not None
            and not isinstance(event, WorkflowStarted)
            and event.run not in ("", live.run)
        )
        if isinstance(event, WorkflowStarted) and event.run != live.run:
            other = True
        if item.seq in live.named or other:
            self._ack([item])
            return True
        return False

    async def _apply(self, live: LiveRun, items: Iterable[Item]) -> None:
        for item in items:
            if live.instance.close is not None:
                return
            event = item.event
            if event is not None:
                if may_hold_ref(item.data):
                    event = await self._context.payloads.restore_event(
                        event, owner=self.address.workflow_id
                    )
                live.commands += live.instance.apply(event, timestamp=item.timestamp)
            live.unrecorded.append(item)

    # getting a run

    async def _begin(self, items: list[Item]) -> bool:
        """Have ``self.live`` for these items; False when there is nothing to go on with now."""
        if items and not self._must_load and await self._begin_fresh(items[0]):
            return True
        await self._load()
        if self.live is not None:
            # What the load brought comes first: the items are collected anew.
            return False
        return await self._without_run(items)

    async def _begin_fresh(self, item: Item) -> bool:
        """The fast path: a start on its first offer needs no look at the log, the commit is one."""
        started, delivery = item.event, item.delivery
        if not isinstance(started, WorkflowStarted) or delivery is None or delivery.attempt > 1:
            return False
        if item.timestamp - started.requested_at >= _LATE_START or started.run == self._ended:
            return False
        self.live = await fresh(self._context, self.address, item, after=self._tip)
        return True

    async def _load(self) -> None:
        opened = await open_run(self._context, self.address)
        self._must_load = False
        match opened:
            case None:
                self._tip = 0
            case Ended():
                await self._end_again(opened.history)
            case Opened():
                self.live = opened.live
                self._first = opened.first
                self._tip = opened.live.tip
                await blocking.unblock(self._context, self.address, opened.live)
                if opened.redispatch is not None:
                    await self._redispatch(opened.live, opened.redispatch)

    async def _bring_in(self) -> None:
        """Load without a delivery; a start that was acknowledged while blocked is found in the log."""
        await self._load()
        if self.live is None:
            self._first = await unstarted(self._context, self.address)
            if self._first:
                self.live = await fresh(
                    self._context, self.address, self._first[0], after=self._tip
                )

    async def _redispatch(self, live: LiveRun, turn: Turn) -> None:
        """Whoever loads a run repeats the newest record's effects, but for what has an outcome."""
        if turn.record.k == 0:
            await closing.announce_start(self._context, self.address, live)
        await perform(
            self._context,
            self.address,
            live,
            [c for c in turn.record.commands if getattr(c, "n", 0) not in self._outcomes(live)],
            record_seq=turn.stored.seq,
            again=True,
        )

    def _outcomes(self, live: LiveRun) -> set[int]:
        """Numbers of activities and timers whose outcome is in the inbox already."""
        pending = [readable(delivery.message.data) for delivery in self.held.values()]
        return {
            event.n
            for event in pending
            if isinstance(event, ActivityCompleted | ActivityFailed | ActivityCanceled | TimerFired)
            and event.run == live.run
        }

    async def _end_again(self, history: RunHistory) -> None:
        """A close that may have stopped half-way: its effects are repeated until STATE has it."""
        self._tip = history.tip
        self._ended = history.run
        entry = await state_of(self._context, self.address)
        named = history.named | set(history.closing.record.applied if history.closing else ())
        if entry is not None and entry.run == history.run and entry.is_open:
            await blocking.end_from_log(self._context, self.address, history)
        elif entry is not None and entry.run == history.run:
            self._context.purger.later(self.address, history.tip)
        for seq, delivery in list(self.held.items()):
            event = readable(delivery.message.data)
            of_run = event is not None and event.run == history.run
            if seq in named or of_run or (seq < history.tip and isinstance(event, WorkflowStarted)):
                self._ack_seq(seq)

    async def _without_run(self, items: list[Item]) -> bool:
        """No run in the log takes these: a start that counts begins one, the rest has no addressee."""
        found = await self._backend.state.read(self.address.workflow_id)
        entry = decode_state(found[0]) if found is not None else None
        expected = entry.run if entry is not None and entry.is_open else ""
        for item in items:
            event = item.event
            if item.seq not in self.held:
                continue
            if isinstance(event, WorkflowStarted) and event.run == expected:
                self.live = await fresh(self._context, self.address, item, after=self._tip)
                return True
        if entry is not None and found is not None and expected:
            # Somebody reserved the id and signals came first: the start is on its way, or is finished here.
            await finish_start(self._backend, entry, found[1])
            self._ack(
                [i for i in items if isinstance(i.event, WorkflowStarted) or i.lane is Lane.ENGINE]
            )
            self._park(_START_PATIENCE)
            return False
        self._ack(items)
        return False

    async def _while_blocked(self, items: list[Item]) -> None:
        """A blocked run goes on taking events; only a termination, or another run, moves the id."""
        for item in items:
            if isinstance(item.event, WorkflowTerminateRequested):
                if await blocking.terminate(self._context, self.address, item):
                    self.blocked = ""
            elif isinstance(item.event, WorkflowStarted) and not self._is_known_start(item.event):
                self.blocked = ""
                self._must_load = True
                return
        self._ack(items)

    def _is_known_start(self, started: WorkflowStarted) -> bool:
        known = self._blocked_run in ("", started.run)
        self._blocked_run = started.run
        return known

    # committing

    async def _commit(self, live: LiveRun) -> None:
        items = live.unrecorded
        record = Record(
            run=live.run,
            k=live.k,
            applied=[item.seq for item in items],
            commands=live.commands,
            trail=live.trail,
            build=self._context.options.build,
        )
        data = encode_record(record)
        if len(data) > INLINE_LIMIT:
            prefix = blob_prefix(self.address.workflow_id, live.run, f"r{live.k}")
            record = Record(
                run=record.run,
                k=record.k,
                applied=record.applied,
                commands=await self._context.payloads.offload_commands(record.commands, prefix),
                trail=record.trail,
                build=record.build,
            )
            data = encode_record(record)
        try:
            seq = await self._backend.log.commit(self.address, data, after=live.tip)
        except UnknownOutcome as error:
            raise Conflict(str(error)) from error
        turn = Turn(
            record,
            Stored(seq, self._backend.clock.now(), data),
            [item.as_applied() for item in items],
        )
        live.committed(turn)
        self._tip = seq
        self._context.observer.turn(
            live.started.workflow_type, events=len(items), commands=len(record.commands)
        )
        if record.close is not None:
            await self._close(live, turn, items)
            return
        live.cut = 0
        await self._effects(live, turn, items)
        self._ack(items)
        self._notify()

    async def _effects(self, live: LiveRun, turn: Turn, items: list[Item]) -> None:
        """Perform what was committed, for as long as it takes: nothing else may happen before."""
        again = False
        pause = _FIRST_PAUSE
        while True:
            try:
                await dead_letter_garbage(self._context, self.address, items)
                if turn.record.k == 0:
                    announced = closing.announce_start(self._context, self.address, live)
                    await together([announced, self._perform(live, turn, again)])
                    self._mark_at = asyncio.get_running_loop().call_later(
                        _MARK_AFTER, self._mark, live
                    )
                else:
                    await self._perform(live, turn, again)
                return
            except PortError as error:
                self._context.observer.failed(error)
                logger.warning("workflow %r: %r; trying again", self.address.workflow_id, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            again = True

    async def _perform(self, live: LiveRun, turn: Turn, again: bool) -> None:
        await perform(
            self._context,
            self.address,
            live,
            turn.record.commands,
            record_seq=turn.stored.seq,
            again=again,
        )

    async def _close(self, live: LiveRun, turn: Turn, items: list[Item]) -> None:
        cut = live.cut or turn.stored.seq
        late = await closing.late_events(
            self._context,
            self.address,
            run=live.run,
            start_seq=live.start_seq,
            cut=cut,
            named=live.named,
        )
        if late:
            # The record is void: the log says so to whoever reads it next, this lane first.
            self.drop()
            self._must_load = True
            return
        await dead_letter_garbage(self._context, self.address, items)
        turns = await self._turns(live)
        await closing.end(
            self._context,
            self.address,
            started=live.started,
            started_at=live.started_at,
            closing=turn,
            turns=turns[:-1],
            revision=live.revision,
        )
        self._ended = live.run
        self._ack(items)
        self.drop()
        self._notify()

    async def _turns(self, live: LiveRun) -> list[Turn]:
        if live.turns is not None:
            return live.turns
        history = await load_history(self._backend.log, self.address, run=live.run)
        if history is None:
            raise HistoryGone
        return history.all_turns

    # small things

    def _mark(self, live: LiveRun) -> None:
        """A run that lives longer than a moment is marked in STATE as under way."""
        self._mark_at = None
        if self.live is live and not live.marked:
            live.marked = True
            entry = closing.open_entry(
                self.address, live.started, live.started_at, k=max(live.k - 1, 0)
            )
            self._context.background(self._write_mark(live, entry))

    async def _write_mark(self, live: LiveRun, entry: StateEntry) -> None:
        live.revision = await closing.write_forward(self._context, entry, revision=live.revision)

    def _flush_soon(self) -> None:
        def flush() -> None:
            self._wake_at = None
            self._flush = True
            self.wake()

        if self._wake_at is None:
            delay = self._context.options.defer / SECOND
            self._wake_at = asyncio.get_running_loop().call_later(delay, flush)

    def _park(self, delay: float) -> None:
        """Leave what is held alone until something comes, or for ``delay`` seconds."""

        def unpark() -> None:
            self._wake_at = None
            self._parked = False
            self.wake()

        self._parked = True
        if self._wake_at is None:
            self._wake_at = asyncio.get_running_loop().call_later(delay, unpark)

    def _ack(self, items: Iterable[Item]) -> None:
        for item in items:
            self._ack_seq(item.seq)

    def _ack_seq(self, seq: int) -> None:
        delivery = self.held.pop(seq, None)
        if delivery is not None:
            delivery.ack()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_change(self) -> None:
        await self._changed.wait()


def _readable_anyway(data: bytes) -> Event | None:
    try:
        return readable(data)
    except NewerEvent:
        return None
