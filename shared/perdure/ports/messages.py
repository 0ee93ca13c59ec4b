"""Words between processes that need not survive: questions to an owner, hints to workers."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from perdure.ports.log import Subscription


class Messages(Protocol):
    """Topics are tuples of text tokens, e.g. ``("query", queue, "17")``."""

    async def ask(self, topic: tuple[str, ...], data: bytes, *, timeout: int) -> bytes:
        """The answer of one of those who answer ``topic``. Raises Unavailable when nobody does, or
        not within ``timeout``."""
        ...

    async def answer(
        self, topic: tuple[str, ...], handler: Callable[[bytes], Awaitable[bytes]]
    ) -> Subscription: ...

    async def tell(self, topic: tuple[str, ...], data: bytes) -> None:
        """To everyone who listens when it arrives, which is not waited for; at most once."""
        ...

    async def listen(
        self, topic: tuple[str, ...], on_word: Callable[[bytes], None]
    ) -> Subscription: ...
