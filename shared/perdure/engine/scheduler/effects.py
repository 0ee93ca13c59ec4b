"""Performing what a record decided.

Every effect may be performed again (a reload does, for the newest record) and by two owners at
once: a task's key takes one message, a timer's key one schedule, and whoever receives what is
published again verifies it. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import batched
from typing import Any

import msgspec

from perdure.core.commands import (
    CancelActivity,
    CancelTimer,
    Command,
    RejectSignal,
    RetryActivity,
    ScheduleActivity,
    StartTimer,
)
from perdure.core.events import TimerFired, encode_event
from perdure.core.records import NewerRecord, decode_record
from perdure.core.tasks import ActivityTask, decode_task, encode_task
from perdure.engine.payloads import blob_prefix
from perdure.engine.scheduler.context import Context
from perdure.engine.scheduler.live import Item, LiveRun
from perdure.ports.addresses import Address, TaskKey, TimerKey
from perdure.ports.errors import AlreadyExists, Conflict, PortError

_LATE = 1.0
"""Seconds after which what was begun may be for a run that is over."""
_SHOWN = 16_384
"""Bytes of garbage that its letter shows."""
_SHARE = 100
"""Effects of one turn that are performed at once."""
_BEGINNINGS = (ScheduleActivity, RetryActivity, StartTimer)
_ENDINGS = (CancelActivity, CancelTimer, RejectSignal)
_encoder = msgspec.json.Encoder()


async def perform(
    context: Context,
    address: Address,
    live: LiveRun,
    commands: Sequence[Command],
    *,
    record_seq: int,
    again: bool = False,
) -> None:
    """Returns once everything ``commands`` ask for is stored. Closes are not performed here."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    dispatch = _Dispatch(context, address, live, record_seq, again)
    beginnings = [command for command in commands if isinstance(command, _BEGINNINGS)]
    if beginnings:
        try:
            await _each(context, dispatch.begin, beginnings)
        except PortError:
            # Some went through, and whoever finds the run over does not come here again.
            await _undo_if_over(context, address, live, commands)
            raise
    # What a record both begins and takes back must be taken back last.
    await take_back(context, address, live.run, commands, queues=live.instance.queues)
    is_late = again or loop.time() - began > _LATE
    if beginnings and is_late:
        await _undo_if_over(context, address, live, commands)


async def _undo_if_over(
    context: Context, address: Address, live: LiveRun, commands: Sequence[Command]
) -> None:
    if await _is_over(context, address, live.run):
        await take_back(context, address, live.run, _undone(commands), queues=live.instance.queues)


async def _is_over(context: Context, address: Address, run: str) -> bool:
    """Whether somebody else ended the run, while this process stood still in its effects."""
    tip = await context.backend.log.tip(address)
    try:
        record = decode_record(tip.data) if tip is not None else None
    except NewerRecord:
        return False
    return record is None or record.run != run or record.close is not None


def _undone(commands: Sequence[Command]) -> list[Command]:
    undone: list[Command] = []
    for command in commands:
        match command:
            case StartTimer():
                undone.append(CancelTimer(n=command.n))
            case ScheduleActivity() | RetryActivity():
                undone.append(CancelActivity(n=command.n, forget=True))
            case _:
                continue
    return undone


async def take_back(
    context: Context,
    address: Address,
    run: str,
    commands: Sequence[Command],
    *,
    queues: Mapping[int, str],
) -> None:
    """The cancellations and rejections among ``commands``: needs no workflow code. ``queues`` tells
    the task queue of activities that are not on the workflow's own."""
    endings = [command for command in commands if isinstance(command, _ENDINGS)]
    if endings:
        await _each(context, _Retraction(context, address, run, queues).end, endings)


async def _each[C: Command](
    context: Context, act: Callable[[C], Coroutine[Any, Any, None]], commands: Sequence[C]
) -> None:
    """All of them, side by side as far as the store keeps up: thousands at once would each be given
    up while they wait for the others, and all begun again."""
    if len(commands) == 1:
        await act(commands[0])
        return
    for share in batched(commands, _SHARE):
        async with context.crowding:
            await together([act(command) for command in share])


async def together(outlets: list[Coroutine[Any, Any, None]]) -> None:
    """All of them at once; an error only after every one has ended."""
    *others, last = outlets
    loop = asyncio.get_running_loop()
    # Eager: what each of them sends is on its way before the next one begins, without a detour
    # through the loop.
    tasks = [asyncio.Task(outlet, loop=loop, eager_start=True) for outlet in others]
    try:
        await in_turn([last, *tasks])
    finally:
        for task in tasks:
            task.cancel()


async def in_turn(outlets: Sequence[Coroutine[Any, Any, None] | asyncio.Task[None]]) -> None:
    """One after the other, for what is on its way already; an error only after every one has
    ended."""
    failed: Exception | None = None
    rest = iter(outlets)
    try:
        for outlet in rest:
            try:
                await outlet
            except Exception as error:  # noqa: BLE001 - raised when all have ended
                failed = failed or error
    finally:
        for outlet in rest:
            if not isinstance(outlet, asyncio.Task):
                outlet.close()
    if failed is not None:
        raise failed


def is_garbage(item: Item) -> bool:
    """Whether no record can apply it."""
    return item.event is None or item.is_forged


async def dead_letter_garbage(context: Context, address: Address, items: Sequence[Item]) -> None:
    """Bytes in the inbox that are no event of its lane go to the dead letters, before they are
    acknowledged."""
    for item in items:
        if is_garbage(item):
            letter = {
                "reason": "unreadable_event",
                "message": "the inbox held bytes that are no event; they were skipped",
                "workflow_id": address.workflow_id,
                "task_queue": address.queue,
                "seq": item.seq,
                "lane": item.lane.value,
                "size": len(item.data),
                "body": item.data[:_SHOWN].decode("utf-8", "replace"),
            }
            await context.backend.dead_letters.put(
                "event", address.workflow_id, _encoder.encode(letter), dedup=f"garbage:{item.seq}"
            )


class _Dispatch:
    """One record's effects."""

    def __init__(
        self, context: Context, address: Address, live: LiveRun, record_seq: int, again: bool
    ) -> None:
        self._context = context
        self._backend = context.backend
        self._address = address
        self._live = live
        self._record_seq = record_seq
        self._again = again

    def _task_key(self, command: ScheduleActivity) -> TaskKey:
        return TaskKey(command.task_queue, self._address.workflow_id, self._live.run, command.n)

    def _timer_key(self, n: int) -> TimerKey:
        return TimerKey(self._address, self._live.run, n)

    def _task(self, command: ScheduleActivity, **changes: Any) -> ActivityTask:
        task = ActivityTask(
            run=self._live.run,
            n=command.n,
            workflow_id=self._address.workflow_id,
            workflow_type=self._live.started.workflow_type,
            workflow_queue=self._address.queue,
            activity_type=command.activity_type,
            activity_id=command.activity_id,
            task_queue=command.task_queue,
            args=command.args,
            schedule_to_close=command.schedule_to_close,
            schedule_to_start=command.schedule_to_start,
            start_to_close=command.start_to_close,
            heartbeat=command.heartbeat,
            retry=command.retry,
            scheduled_at=command.scheduled_at,
            cause_at=self._live.instance.host.instant,
            cause_seq=self._record_seq,
            again=self._again,
            headers=command.headers,
        )
        return msgspec.structs.replace(task, **changes) if changes else task

    def begin(
        self, command: ScheduleActivity | RetryActivity | StartTimer
    ) -> Coroutine[Any, Any, None]:
        match command:
            case ScheduleActivity():
                return self._schedule(command)
            case RetryActivity():
                return self._retry(command)
            case StartTimer():
                return self._start_timer(command)

    async def _schedule(self, command: ScheduleActivity) -> None:
        if command.n not in self._live.instance.ledger.activities:
            return
        dedup = f"{self._live.run}:{command.n}:1"
        await self._backend.tasks.offer(
            self._task_key(command), encode_task(self._task(command)), dedup=dedup
        )

    async def _retry(self, command: RetryActivity) -> None:
        activity = self._live.instance.ledger.activities.get(command.n)
        if activity is None or activity.attempt != command.attempt:
            return
        task = self._task(
            activity.command,
            attempt=command.attempt,
            last_failure=command.last_failure,
            heartbeat_details=command.heartbeat,
        )
        data = encode_task(task)
        if len(data) > self._backend.max_message:
            what = f"{command.n}-attempt-{command.attempt}"
            prefix = blob_prefix(task.workflow_id, task.run, what)
            data = encode_task(await self._context.payloads.offload_struct(task, prefix))
        key = self._task_key(activity.command)
        dedup = f"{self._live.run}:{command.n}:{command.attempt}"
        while not await self._backend.tasks.offer(key, data, dedup=dedup):
            if await self._is_in_place(key, data, command.attempt):
                return

    async def _is_in_place(self, key: TaskKey, data: bytes, attempt: int) -> bool:
        """Whether the queue has this attempt now: the one before may still lie there, when whoever
        reported its failure died before it took it out."""
        current = await self._backend.tasks.current(key)
        if current is None:
            return False
        present = decode_task(current.data)
        if present.attempt >= attempt or present.cancel:
            return True
        try:
            await self._backend.tasks.replace(key, data, seq=current.seq)
        except Conflict:
            return False
        return True

    async def _start_timer(self, command: StartTimer) -> None:
        if command.n not in self._live.instance.ledger.timers:
            return
        fired = encode_event(TimerFired(run=self._live.run, n=command.n, due=command.due))
        key = self._timer_key(command.n)
        try:
            armed = await self._backend.timers.arm(key, command.due, fired)
        except AlreadyExists:
            return
        if command.due - self._backend.clock.now() <= self._context.options.short_timer:
            self._context.short_timers.watch(key, command.due, fired, armed=armed)


class _Retraction:
    """Taking back what a run had begun."""

    def __init__(
        self, context: Context, address: Address, run: str, queues: Mapping[int, str]
    ) -> None:
        self._context = context
        self._backend = context.backend
        self._address = address
        self._run = run
        self._queues = queues

    def _timer_key(self, n: int) -> TimerKey:
        return TimerKey(self._address, self._run, n)

    def end(
        self, command: CancelActivity | CancelTimer | RejectSignal
    ) -> Coroutine[Any, Any, None]:
        match command:
            case CancelActivity():
                return self._cancel_activity(command)
            case CancelTimer():
                return self._cancel_timer(command)
            case RejectSignal():
                return self._reject_signal(command)

    async def _cancel_activity(self, command: CancelActivity) -> None:
        queue = self._queue_of(command.n)
        key = TaskKey(queue, self._address.workflow_id, self._run, command.n)
        if command.forget:
            await self._backend.tasks.remove(key)
        else:
            await self._replace_by_cancel(key)
        word = _encoder.encode({"run": self._run, "n": command.n})
        await self._backend.messages.tell(("activity-cancel", queue), word)

    async def _replace_by_cancel(self, key: TaskKey) -> None:
        while True:
            current = await self._backend.tasks.current(key)
            if current is None:
                # The outcome is in the log, or on its way there.
                return
            task = decode_task(current.data)
            if task.cancel:
                return
            cancel = msgspec.structs.replace(task, cancel=True, delay=0, again=True)
            try:
                await self._backend.tasks.replace(key, encode_task(cancel), seq=current.seq)
            except Conflict:
                continue
            return

    def _queue_of(self, n: int) -> str:
        return self._queues.get(n, self._address.queue)

    async def _cancel_timer(self, command: CancelTimer) -> None:
        key = self._timer_key(command.n)
        self._context.short_timers.forget(key)
        await self._backend.timers.cancel(key)

    async def _reject_signal(self, command: RejectSignal) -> None:
        letter = {
            "reason": "invalid_arguments",
            "message": command.reason,
            "workflow_id": self._address.workflow_id,
            "run_id": self._run,
            "signal": command.name,
            "eid": command.eid,
        }
        await self._backend.dead_letters.put(
            "signal",
            self._address.workflow_id,
            _encoder.encode(letter),
            dedup=f"reject:{command.eid}",
        )
