"""Proxies that carry every call of a backend past the faults of a plan.

They are generic, one class for every port, and typed again at the border: a wrapped backend is a
:class:`~perdure.ports.backend.Backend` like any other.
"""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, cast

from perdure.ports.backend import Backend

PORTS: Final = (
    "log", "inbox", "tasks", "heartbeats", "timers", "state", "blobs", "archive", "announcements",
    "dead_letters", "replies", "ingress", "messages", "members", "capacity",
)  # fmt: skip
"""Every port but the clock: reading a clock can't fail."""

_CALLBACKS: Final = {
    ("inbox", "open"): "inbox.delivery",
    ("tasks", "open"): "tasks.delivery",
    ("ingress", "open"): "ingress.delivery",
    ("messages", "listen"): "messages.word",
    ("messages", "answer"): "messages.question",
    ("state", "watch"): "state.change",
}
"""Methods that open something and take a callback, and what its calls are named."""

_ITERATORS: Final = frozenset({("timers", "overdue"), ("state", "scan"), ("dead_letters", "scan")})


class Faults(Protocol):
    """What a proxy asks of a process's faults. ``about`` is what a call is about: its arguments, or
    the delivery."""

    def check_alive(self) -> None: ...
    async def call(
        self, name: str, invoke: Callable[[], Awaitable[Any]], about: tuple[Any, ...]
    ) -> Any: ...
    def pass_on(self, name: str, go: Callable[[], None], about: tuple[Any, ...]) -> None:
        """Something that goes one way: to the process or from it."""
        ...


def wrap_backend(backend: Backend, faults: Faults) -> Backend:
    """``backend`` with every port behind a proxy but the clock."""
    ports: dict[str, Any] = {
        port: _PortProxy(port, getattr(backend, port), faults) for port in PORTS
    }
    return dataclasses.replace(backend, **ports)


class _PortProxy:
    """One port. Coroutine methods go through ``call``, iterators likewise before their first."""

    def __init__(self, port: str, target: Any, faults: Faults) -> None:
        self._port = port
        self._target = target
        self._faults = faults

    def __getattr__(self, method: str) -> Any:
        real, name = getattr(self._target, method), f"{self._port}.{method}"
        if (self._port, method) in _ITERATORS:
            proxy = partial(self._iterate, name, real)
        elif (self._port, method) in _CALLBACKS:
            proxy = partial(self._open, name, _CALLBACKS[self._port, method], real)
        else:
            proxy = partial(self._call, name, real)
        self.__dict__[method] = proxy
        return proxy

    async def _call(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._faults.call(name, partial(real, *args, **kwargs), args)

    async def _iterate(
        self, name: str, real: Callable[..., AsyncIterator[Any]], *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        async def begin() -> AsyncIterator[Any]:
            return real(*args, **kwargs)

        items = cast("AsyncIterator[Any]", await self._faults.call(name, begin, args))
        async for item in items:
            self._faults.check_alive()
            yield item
            self._faults.check_alive()

    async def _open(
        self, name: str, heard: str, real: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """A subscription: the callback among the arguments goes past the faults too."""
        wrapped = [self._heard(heard, arg) for arg in args]
        options = {key: self._heard(heard, arg) for key, arg in kwargs.items()}
        opened = await self._faults.call(name, partial(real, *wrapped, **options), args)
        return _Opened(opened, self._port, self._faults)

    def _heard(self, heard: str, argument: Any) -> Any:
        if not callable(argument):
            return argument
        hear: Any = self._answering if heard == "messages.question" else self._hearing
        return hear(heard, argument)

    def _hearing(self, heard: str, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        def on_item(item: Any) -> None:
            given = _Delivery(item, self._port, self._faults) if hasattr(item, "ack") else item
            self._faults.pass_on(heard, partial(callback, given), (item,))

        return on_item

    def _answering(
        self, heard: str, handler: Callable[[bytes], Awaitable[bytes]]
    ) -> Callable[[bytes], Awaitable[bytes]]:
        async def answer(data: bytes) -> bytes:
            return await self._faults.call(heard, partial(handler, data), (data,))

        return answer


class _Opened:
    """A subscription whose end is a call too."""

    def __init__(self, opened: Any, port: str, faults: Faults) -> None:
        self._opened = opened
        self._port = port
        self._faults = faults

    async def close(self) -> None:
        await self._faults.call(f"{self._port}.close", self._opened.close, ())


class _Delivery:
    """A delivery whose holder's words go past the faults: a dead process says none."""

    def __init__(self, delivery: Any, port: str, faults: Faults) -> None:
        self._delivery = delivery
        self._port = port
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    def ack(self) -> None:
        self._say("ack", self._delivery.ack)

    def extend(self) -> None:
        self._say("extend", self._delivery.extend)

    def nak(self, delay: int = 0) -> None:
        self._say("nak", partial(self._delivery.nak, delay))

    def _say(self, word: str, go: Callable[[], None]) -> None:
        self._faults.pass_on(f"{self._port}.{word}", go, (self._delivery,))
