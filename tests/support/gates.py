"""Holds for chosen port calls of one process, and processes that freeze and wake up again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from perdure.ports.backend import Backend
from perdure.testing.fault_proxies import wrap_backend


class Hold:
    """One call that waits: ``reached`` says that it is made, ``release`` lets it go on."""

    def __init__(self, *, after: bool) -> None:
        self.after = after
        self.reached = asyncio.Event()
        self._go = asyncio.Event()

    def release(self) -> None:
        self._go.set()

    async def wait(self) -> None:
        self.reached.set()
        await self._go.wait()


class Gates:
    """One process seen through gates: ``wrap`` its backend, then hold calls or freeze it whole.

    A frozen process gets nothing and says nothing; what it was about to do or to hear comes when
    it thaws, as with a machine that stood still.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._holds: dict[str, list[Hold]] = {}
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._waiting: list[Callable[[], None]] = []

    def wrap(self, backend: Backend) -> Backend:
        return wrap_backend(backend, self)

    def hold(self, call: str, *, after: bool = False) -> Hold:
        """The next ``call`` that is made waits before it, or before its answer is heard."""
        hold = Hold(after=after)
        self._holds.setdefault(call, []).append(hold)
        return hold

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()
        waiting, self._waiting = self._waiting, []
        for word in waiting:
            word()

    def lose(self, after: int = 0) -> None:
        """What a frozen process was about to hear or say never arrives, but for the first."""
        del self._waiting[after:]

    def check_alive(self) -> None:
        """It is, frozen or not."""

    async def call(
        self, name: str, invoke: Callable[[], Awaitable[Any]], about: tuple[Any, ...]
    ) -> Any:
        self.calls[name] += 1
        holds = self._holds.get(name)
        hold = holds.pop(0) if holds else None
        await self._thawed.wait()
        if hold is not None and not hold.after:
            await hold.wait()
        try:
            return await invoke()
        finally:
            if hold is not None and hold.after:
                await hold.wait()
            await self._thawed.wait()

    def pass_on(self, name: str, go: Callable[[], None], about: tuple[Any, ...]) -> None:
        self.say(go)

    def say(self, word: Callable[[], None]) -> None:
        """Now, or when it thaws."""
        if self._thawed.is_set():
            word()
        else:
            self._waiting.append(word)


__all__ = ["Gates", "Hold"]
