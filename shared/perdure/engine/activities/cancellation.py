"""Cancelling an activity: a message in its task's place, a broadcast, and a look now and then.

Whoever runs the activity hears the broadcast, or finds at a lease round that its task's message was
replaced; it cancels the code and reports what comes of it. The cancel message itself reaches any
worker: one that runs the activity waits for its own outcome; another asks who holds it, waits while
somebody does, and reports the cancellation when nobody answers. Should two report, the log counts
the first: outcomes of one activity have one identity.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from perdure.core.tasks import ActivityTask, decode_task
from perdure.engine.activities.attempt import Attempt
from perdure.engine.activities.leases import Held
from perdure.engine.activities.outcomes import Outcomes
from perdure.engine.activities.retrying import Retrying
from perdure.engine.activities.verification import still_counts
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.ports.log import Subscription

_ANSWER_TIME: Final = 0.5
"""Seconds in which a holder claims an activity that is to be cancelled."""
_LOOK_AGAIN: Final = 3.0
_logger = logging.getLogger("perdure.activities")


class CancelWord(msgspec.Struct, frozen=True):
    """Activity ``n`` of ``run`` is to be cancelled, or is held by whoever says it."""

    run: str
    n: int


_decoder = msgspec.json.Decoder(CancelWord)


def cancel_topic(queue: str) -> tuple[str, ...]:
    """Where workers of ``queue`` listen for cancellations."""
    return ("activity-cancel", queue)


def _claim_topic(queue: str) -> tuple[str, ...]:
    return ("activity-held", queue)


class Cancellations:
    """One worker's part in it. ``running`` are its attempts by run and number."""

    def __init__(
        self,
        backend: Backend,
        *,
        queue: str,
        identity: str,
        running: dict[tuple[str, int], Attempt],
        outcomes: Outcomes,
        retrying: Retrying,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        stopping: asyncio.Event,
    ) -> None:
        self._backend = backend
        self._queue = queue
        self._identity = identity
        self._running = running
        self._outcomes = outcomes
        self._retrying = retrying
        self._spawn = spawn
        self._stopping = stopping
        self._claims: dict[tuple[str, int], asyncio.Event] = {}
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        messages = self._backend.messages
        for topic, on_word in (
            (cancel_topic(self._queue), self._on_cancel),
            (_claim_topic(self._queue), self._on_claim),
        ):
            self._subscriptions.append(await messages.listen(topic, on_word))

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()
        self._subscriptions.clear()

    async def look_after(self, attempt: Attempt) -> None:
        """Find out whether ``attempt`` still has the queue's message, and stop it if not."""
        try:
            current = await self._backend.tasks.current(attempt.held.key)
        except PortError as error:
            _logger.debug("could not look after %s: %s", attempt.held.key, error)
            return
        if current is not None and current.seq == attempt.held.message.seq:
            return
        if current is None:
            attempt.request_cancel(unheard=True)
        elif _is_cancel(current.data):
            attempt.request_cancel()
        else:
            attempt.drop()

    async def settle(self, held: Held, task: ActivityTask) -> None:
        """See to it that the activity's outcome is in the log; then settle its cancel message."""
        while not self._stopping.is_set():
            attempt = self._running.get((task.run, task.n))
            if attempt is not None:
                attempt.request_cancel()
                await attempt.settled.wait()
            if not await still_counts(self._backend, held, task):
                held.ack()
                return
            if not await self._is_held_elsewhere(task):
                await self._outcomes.canceled(held, task, task.heartbeat_details)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._stopping.wait()
        await self._retrying.put_back(held, task, task.heartbeat_details)

    async def _is_held_elsewhere(self, task: ActivityTask) -> bool:
        key = (task.run, task.n)
        claimed = self._claims.setdefault(key, asyncio.Event())
        try:
            others = await self._backend.members.list(("worker", self._queue))
            if not others.keys() - {self._identity}:
                return False
            word = msgspec.json.encode(CancelWord(*key))
            await self._backend.messages.tell(cancel_topic(self._queue), word)
            async with asyncio.timeout(_ANSWER_TIME):
                await claimed.wait()
        except TimeoutError:
            return False
        except PortError as error:
            _logger.debug("could not ask who holds %s: %s", key, error)
            return True
        finally:
            self._claims.pop(key, None)
        return True

    def _on_cancel(self, data: bytes) -> None:
        word = _read(data)
        attempt = self._running.get((word.run, word.n)) if word else None
        if attempt is not None:
            self._spawn(self._claim(attempt, data))

    async def _claim(self, attempt: Attempt, data: bytes) -> None:
        try:
            await self._backend.messages.tell(_claim_topic(self._queue), data)
        except PortError as error:
            _logger.debug("could not claim %s: %s", attempt.held.key, error)
        await self.look_after(attempt)

    def _on_claim(self, data: bytes) -> None:
        word = _read(data)
        claimed = self._claims.get((word.run, word.n)) if word else None
        if claimed is not None:
            claimed.set()


def _read(data: bytes) -> CancelWord | None:
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        _logger.warning("a cancel word that is none: %r", data[:200])
        return None


def _is_cancel(data: bytes) -> bool:
    try:
        return decode_task(data).cancel
    except msgspec.DecodeError:
        return False
