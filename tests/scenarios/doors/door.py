"""A store whose front door somebody drains, and a sender who waits to be told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from perdure.adapters.memory.backend import MemoryStore
from perdure.engine.ingress import IngressDrain
from perdure.ports.backend import Backend
from perdure.testing.virtual_time import run

INBOX = "_INBOX.sender"


async def letters_of(backend: Backend) -> list[dict[str, Any]]:
    return [msgspec.json.decode(letter.data) async for letter in backend.dead_letters.scan()]


class Door:
    """A store with a drainer at work and a sender who waits for replies."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.backend = self.store.backend()
        self.replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(
        self,
        kind: Any,
        *tokens: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Publish, the outcome to be told."""
        return await self.store.request(
            kind, tokens, body, headers={"Perdure-Reply-To": INBOX, **(headers or {})}
        )

    async def ask(self, kind: Any, *tokens: str, **more: Any) -> dict[str, Any]:
        await self.send(kind, *tokens, **more)
        return await self.replies.get()


def at_the_door(scenario: Callable[[Door], Awaitable[None]], **options: Any) -> None:
    async def whole() -> None:
        door = Door()
        listening = await door.store.on_reply(
            INBOX, lambda data, headers: door.replies.put_nowait(msgspec.json.decode(data))
        )
        async with IngressDrain(door.store.backend(), **options):
            await scenario(door)
        await listening.close()

    run(whole())


async def drained(door: Door, through: int) -> None:
    """Until every request up to ``through`` is settled (in virtual time)."""
    while True:
        if await door.backend.ingress.settled() >= through:
            return
        await asyncio.sleep(0.5)
