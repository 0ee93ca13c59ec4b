"""What every contract suite is written with: a stage to play on, and ways to expect.

The same checks run on a real server in real time and on memory in virtual time: they wait for
events with a deadline, and take leases from the backend.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, Protocol

from perdure.core.durations import SECOND
from perdure.ports.addresses import Address, TaskKey, TimerKey
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.ports.ingress import RequestKind
from perdure.ports.log import Subscription

PATIENCE: Final = 20 * SECOND
"""How long a check waits for what a port promises to happen soon."""

_numbers = itertools.count(1)


class ContractViolation(AssertionError):
    """An adapter broke a promise of its port."""


class Stage(Protocol):
    """One namespace of one store, empty at first, and the outsiders' ways into it."""

    async def connect(self) -> Backend:
        """One more process's connection to the store."""
        ...

    async def request(
        self,
        kind: RequestKind,
        tokens: tuple[str, ...],
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Publish on a public durable subject as an outsider does; the receipt's sequence."""
        ...

    async def announced(self) -> list[bytes]:
        """What other services can read of the announcements, oldest first."""
        ...

    async def on_reply(
        self, address: str, on_reply: Callable[[bytes, Mapping[str, str]], None]
    ) -> Subscription:
        """Listen where replies go."""
        ...


type Check = Callable[[Stage], Awaitable[None]]


def suite(*checks: Callable[[Stage], Awaitable[None]]) -> dict[str, Check]:
    """Checks by their names."""
    return {check.__name__: check for check in checks}


async def run_all(checks: Mapping[str, Check], stage: Stage) -> None:
    for name, check in checks.items():
        try:
            await check(stage)
        except ContractViolation as violation:
            raise ContractViolation(f"{name}: {violation}") from violation


# ------------------------------------------------------------------- names


def fresh(prefix: str) -> str:
    """A name that no other check of this process uses."""
    return f"{prefix}-{next(_numbers)}"


def fresh_address(queue: str = "") -> Address:
    return Address(queue or fresh("queue"), fresh("order"))


def fresh_task(queue: str = "", n: int = 1) -> TaskKey:
    return TaskKey(queue or fresh("queue"), fresh("order"), fresh("run"), n)


def fresh_timer(address: Address | None = None, n: int = 1) -> TimerKey:
    return TimerKey(address or fresh_address(), fresh("run"), n)


# ------------------------------------------------------------ expectations


def expect(condition: object, promise: str) -> None:
    """Raise ContractViolation with ``promise`` unless ``condition`` holds."""
    if not condition:
        raise ContractViolation(promise)


def expect_equal(actual: object, expected: object, promise: str) -> None:
    if actual != expected:
        raise ContractViolation(f"{promise}\n  expected: {expected!r}\n  actual:   {actual!r}")


async def expect_error(error: type[PortError], call: Awaitable[object], promise: str) -> None:
    """Await ``call``, which must raise exactly ``error``."""
    try:
        result = await call
    except error:
        return
    except PortError as other:
        raise ContractViolation(f"{promise}; it raised {other!r}") from other
    raise ContractViolation(f"{promise}; it returned {result!r}")


async def eventually(
    holds: Callable[[], Awaitable[bool]], promise: str, *, within: int = PATIENCE
) -> None:
    """Ask again until it holds: for promises of which no event tells."""
    try:
        async with asyncio.timeout(within / 1e9):
            while True:
                if await holds():
                    return
                # The pause between two looks, not a guess at how long it takes.
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise ContractViolation(f"{promise} (not within {within / 1e9:g} s)") from error


async def collect[T](items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class Seen[T]:
    """A callback that keeps what it is given, for a check that waits for it."""

    def __init__(self, on_item: Callable[[T], None] | None = None) -> None:
        self.items: list[T] = []
        self._taken = 0
        self._arrived = asyncio.Event()
        self._on_item = on_item

    def __call__(self, item: T) -> None:
        self.items.append(item)
        self._arrived.set()
        if self._on_item is not None:
            self._on_item(item)

    async def next(self, promise: str, *, within: int = PATIENCE) -> T:
        """The next item not taken yet."""
        if not await self._comes(within):
            raise ContractViolation(f"{promise} (nothing came within {within / 1e9:g} s)")
        self._taken += 1
        return self.items[self._taken - 1]

    async def take(self, count: int, promise: str) -> list[T]:
        return [await self.next(f"{promise}: {taken} of {count} came") for taken in range(count)]

    async def nothing(self, promise: str, *, during: int) -> None:
        """Nothing more comes for a while."""
        if await self._comes(during):
            raise ContractViolation(f"{promise}, but {self.items[self._taken]!r} came")

    async def _comes(self, within: int) -> bool:
        try:
            async with asyncio.timeout(within / 1e9):
                while self._taken >= len(self.items):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True
