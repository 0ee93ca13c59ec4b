"""Hears how workflows go from the public events: one subscription for all of them.

It is the cheapest way to wait for many results: a handle's ``result()`` asks the server for each.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from load.session import NAMESPACE

_CLOSED: Final = b'"event":"closed"'


class _Event(msgspec.Struct):
    event: str
    id: str
    status: str
    result: Any = None


_decode: Final = msgspec.json.Decoder(_Event).decode


class Unexpected(Exception):
    """A workflow ended otherwise than the load expects."""


class Events:
    """Futures by workflow id: started, and closed with the result."""

    def __init__(self) -> None:
        self._closed: dict[str, asyncio.Future[Any]] = {}
        self._loop = asyncio.get_running_loop()
        self.started = 0
        self.changed = asyncio.Event()

    @classmethod
    async def listen(cls, connection: Nats, workflow_type: str) -> Events:
        events = cls()
        await connection.subscribe(f"perdure.{NAMESPACE}.events.{workflow_type}.>", cb=events._take)
        await connection.flush()
        return events

    def result(self, workflow_id: str) -> asyncio.Future[Any]:
        """Ask for it before the start."""
        future = self._closed[workflow_id] = self._loop.create_future()
        return future

    async def until_started(self, count: int) -> None:
        while self.started < count:
            self.changed.clear()
            await self.changed.wait()

    async def _take(self, message: Msg) -> None:
        if _CLOSED not in message.data:
            self.started += 1
            self.changed.set()
            return
        event = _decode(message.data)
        future = self._closed.pop(event.id, None)
        if future is None or future.done():
            return
        if event.status == "completed":
            future.set_result(event.result)
        else:
            future.set_exception(Unexpected(f"{event.id} is {event.status}"))
