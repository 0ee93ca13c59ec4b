"""Filling a server's store from outside, and giving the room back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import nats
from nats.aio.client import Client as Outsider
from nats.js.errors import APIError

_SUBJECT: Final = "filler.block"
_STREAM: Final = "FILLER"
_BLOCKS: Final = (400_000, 20_000, 500, 1)


class Filler:
    """A stream that has nothing to do with perdure and takes its room."""

    def __init__(self, outsider: Outsider) -> None:
        self._context = outsider.jetstream()

    async def fill(self, used: int) -> None:
        """Until the account uses so many bytes."""
        while (missing := used - (await self._context.account_info()).storage) > 1_000:
            await self._context.publish(_SUBJECT, bytes(min(_BLOCKS[0], missing)))

    async def fill_up(self) -> None:
        """Until the server refuses a single byte. What runs beside may free a little."""
        for size in _BLOCKS:
            while await self._takes(size):
                pass

    async def _takes(self, size: int) -> bool:
        try:
            await self._context.publish(_SUBJECT, bytes(size))
        except APIError:
            return False
        return True

    async def release(self) -> None:
        """Give all of it back."""
        await self._context.purge_stream(_STREAM)


@asynccontextmanager
async def filler(url: str) -> AsyncGenerator[Filler]:
    outsider = await nats.connect(url)
    try:
        await outsider.jetstream().add_stream(name=_STREAM, subjects=[_SUBJECT])
        yield Filler(outsider)
    finally:
        await outsider.close()
