"""Where the contract suites are played: a registry of stages, one entry per adapter."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js.errors import NotFoundError

from perdure.adapters.jetstream.backend import JetStreamOptions, connect
from perdure.adapters.jetstream.link import ConnectOptions
from perdure.adapters.memory import MemoryStore
from perdure.ports.backend import Backend
from perdure.ports.ingress import RequestKind
from perdure.ports.log import Subscription
from perdure.testing import virtual_time
from perdure.testing.contracts import Check

LEASE = timedelta(seconds=2)
_namespaces = itertools.count(1)


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


@dataclass
class _RawSubscription:
    """The plain client's subscription as a port's."""

    raw: NatsSubscription

    async def close(self) -> None:
        await self.raw.unsubscribe()


@dataclass
class JetStreamStage:
    """A namespace of its own on a real server; outsiders use the plain client."""

    options: JetStreamOptions
    outsider: Client
    stack: AsyncExitStack

    async def connect(self) -> Backend:
        return await self.stack.enter_async_context(connect(self.options))

    async def request(
        self,
        kind: RequestKind,
        tokens: tuple[str, ...],
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        subject = ".".join((self.options.prefix, self.options.namespace, kind, *tokens))
        receipt = await self.outsider.jetstream().publish(
            subject, data, headers=dict(headers) if headers else None
        )
        return receipt.seq

    async def announced(self) -> list[bytes]:
        stream = self.options.subjects.events_stream
        context = self.outsider.jetstream()
        state = (await context.stream_info(stream)).state
        found: list[bytes] = []
        for seq in range(state.first_seq, state.last_seq + 1):
            try:
                found.append((await context.get_msg(stream, seq)).data or b"")
            except NotFoundError:
                continue
        return found

    async def on_reply(
        self, address: str, on_reply: Callable[[bytes, Mapping[str, str]], None]
    ) -> Subscription:
        async def heard(message: Msg) -> None:
            on_reply(message.data, message.headers or {})

        subscription = await self.outsider.subscribe(address, cb=heard)
        # The server must know of it before anybody replies.
        await self.outsider.flush()
        return _RawSubscription(subscription)


def on_memory(check: Check, server_url: Callable[[], str]) -> None:
    """Play a check in virtual time; no server is asked for."""

    async def play() -> None:
        await check(MemoryStage())

    virtual_time.run(play(), limit=timedelta(days=7))


def on_jetstream(check: Check, server_url: Callable[[], str]) -> None:
    """Play a check in real time, with short leases."""
    url = server_url()
    options = JetStreamOptions(
        connection=ConnectOptions(servers=(url,)),
        namespace=f"contract-{next(_namespaces)}",
        lease=LEASE,
    )

    async def play() -> None:
        async with AsyncExitStack() as stack:
            outsider = await nats.connect(url)
            stack.push_async_callback(outsider.close)
            # The first one makes the streams, which outsiders need before any process connects.
            await stack.enter_async_context(connect(options))
            await check(JetStreamStage(options, outsider, stack))

    asyncio.run(play())


BACKENDS: dict[str, Callable[[Check, Callable[[], str]], None]] = {
    "memory": on_memory,
    "jetstream": on_jetstream,
}
"""How to play a check on each adapter; it gets a namespace of its own. Those that need a server ask
for its address."""

WITH_SERVER = frozenset({"jetstream"})
