"""Durable timers: the store appends the fired event by itself."""

from collections.abc import AsyncIterator
from functools import partial

from perdure.adapters.memory.server import ArmedTimer, Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied
from perdure.ports.addresses import Lane, TimerKey
from perdure.ports.errors import AlreadyExists, StoreFull


class MemoryTimers:
    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._timers = server.timers
        self._call = session.call

    async def arm(self, key: TimerKey, due: int, fired: bytes) -> int:
        def arm() -> int:
            if key in self._timers:
                raise AlreadyExists(f"timer {key.n} of run {key.run} is armed already")
            content = copied(fired)
            self._put(key, due, content)
            return self._timers[key].armed

        return await self._call(arm)

    async def fire(self, key: TimerKey, fired: bytes, *, armed: int) -> bool:
        def fire() -> bool:
            timer = self._timers.get(key)
            if timer is None or timer.armed != armed:
                return False
            self._server.log.append((key.address, Lane.ENGINE), fired)
            self._drop(key)
            return True

        return await self._call(fire)

    async def cancel(self, key: TimerKey) -> None:
        await self._call(partial(self._drop, key))

    async def overdue(self, before: int) -> AsyncIterator[TimerKey]:
        keys = await self._call(lambda: [k for k, t in self._timers.items() if t.due < before])
        for key in keys:
            if key in self._timers:
                yield key

    async def rearm(self, key: TimerKey) -> None:
        def again() -> None:
            if (timer := self._timers.get(key)) is not None:
                self._server.log.check_room()
                self._drop(key)
                self._put(key, timer.due, timer.fired)

        await self._call(again)

    def _put(self, key: TimerKey, due: int, fired: bytes) -> None:
        server = self._server
        armed = server.log.claim()

        def ring() -> None:
            # A full store leaves the timer armed and stuck, as the real one does.
            try:
                server.log.append((key.address, Lane.ENGINE), fired)
            except StoreFull:
                return
            del server.timers[key]

        alarm = server.time.alarm(due, ring)
        self._timers[key] = ArmedTimer(armed, due, fired, alarm)

    def _drop(self, key: TimerKey) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.alarm.cancel()
