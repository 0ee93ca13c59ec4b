"""Where the contract suites are played: a registry of stages, one entry per adapter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from perdure.adapters.memory import MemoryStore
from perdure.ports.backend import Backend
from perdure.ports.ingress import RequestKind
from perdure.ports.log import Subscription
from perdure.testing import virtual_time
from perdure.testing.contracts import Check


@dataclass
class MemoryStage:
    """A memory store of its own."""

    store: MemoryStore = field(default_factory=MemoryStore)

    async def connect(self) -> Backend:
        return self.store.backend()

    async def request(
        self,
        kind: RequestKind,
        tokens: tuple[str, ...],
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        return await self.store.request(kind, tokens, data, headers=headers)

    async def announced(self) -> list[bytes]:
        return await self.store.announced()

    async def on_reply(
        self, address: str, on_reply: Callable[[bytes, Mapping[str, str]], None]
    ) -> Subscription:
        return await self.store.on_reply(address, on_reply)


def on_memory(check: Check) -> None:
    """Play a check in virtual time."""

    async def play() -> None:
        await check(MemoryStage())

    virtual_time.run(play(), limit=timedelta(days=7))


BACKENDS: dict[str, Callable[[Check], None]] = {"memory": on_memory}
"""How to play a check on each adapter; it gets a namespace of its own."""
