"""Proxies that carry every call of a backend past the faults of a plan.

They are generic, one class for every port, and typed again at the border: a wrapped backend is a
:class:`~perdure.ports.backend.Backend` like any other.
"""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, cast

from perdure.ports.backend import Backend

_PORTS: Final = (
    "log", "inbox", "tasks", "heartbeats", "timers", "state", "blobs", "archive", "announcements",
    "dead_letters", "replies", "ingress", "messages", "members",
)  # fmt: skip

_CALLBACKS: Final = {
    ("inbox", "open"): "inbox.delivery",
    ("tasks", "open"): "tasks.delivery",
    ("ingress", "open"): "ingress.delivery",
    ("messages", "listen"): "messages.word",
    ("state", "watch"): "state.change",
}
"""Methods that take a callback, and what its calls are named."""

_ITERATORS: Final = frozenset({("timers", "overdue"), ("state", "scan"), ("dead_letters", "scan")})


class Faults(Protocol):
    """What a proxy asks of a process's faults."""

    @property
    def dead(self) -> bool: ...
    def check_alive(self) -> None: ...
    async def call(self, name: str, invoke: Callable[[], Awaitable[Any]]) -> Any: ...
    def deliver(self, name: str, hand_over: Callable[[], None]) -> None: ...


def wrap_backend(backend: Backend, faults: Faults) -> Backend:
    """``backend`` with every port but the clock behind a proxy: reading a clock can't fail."""
    ports: dict[str, Any] = {
        port: _PortProxy(port, getattr(backend, port), faults) for port in _PORTS
    }
    return dataclasses.replace(backend, **ports)


class _PortProxy:
    """One port. Coroutine methods go through ``call``, iterators likewise before their first."""

    def __init__(self, port: str, target: Any, faults: Faults) -> None:
        self._port = port
        self._target = target
        self._faults = faults

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._target, method)
        if (self._port, method) in _ITERATORS:
            return partial(self._iterate, method, real)
        return partial(self._call, method, real)

    async def _call(self, method: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        name = f"{self._port}.{method}"
        callback_name = _CALLBACKS.get((self._port, method))
        if callback_name is not None:
            args, kwargs = self._with_faulty_callback(callback_name, args, kwargs)
        elif (self._port, method) == ("messages", "answer"):
            args, kwargs = self._with_mortal_handler(args, kwargs)
        return await self._faults.call(name, partial(real, *args, **kwargs))

    async def _iterate(
        self, method: str, real: Callable[..., AsyncIterator[Any]], *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        async def begin() -> AsyncIterator[Any]:
            return real(*args, **kwargs)

        items = cast("AsyncIterator[Any]", await self._faults.call(f"{self._port}.{method}", begin))
        async for item in items:
            self._faults.check_alive()
            yield item
            self._faults.check_alive()

    def _with_faulty_callback(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def wrapped(callback: Callable[[Any], None]) -> Callable[[Any], None]:
            def on_item(item: Any) -> None:
                given = _MortalDelivery(item, self._faults) if hasattr(item, "ack") else item
                self._faults.deliver(name, partial(callback, given))

            return on_item

        return _replace_callable(args, kwargs, wrapped)

    def _with_mortal_handler(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def wrapped(handler: Callable[[bytes], Awaitable[bytes]]) -> Callable[..., Any]:
            async def answer(data: bytes) -> bytes:
                self._faults.check_alive()
                result = await handler(data)
                self._faults.check_alive()
                return result

            return answer

        return _replace_callable(args, kwargs, wrapped)


class _MortalDelivery:
    """A delivery whose words are lost once its process is dead."""

    def __init__(self, delivery: Any, faults: Faults) -> None:
        self._delivery = delivery
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    def ack(self) -> None:
        if not self._faults.dead:
            self._delivery.ack()

    def extend(self) -> None:
        if not self._faults.dead:
            self._delivery.extend()

    def nak(self, delay: int = 0) -> None:
        if not self._faults.dead:
            self._delivery.nak(delay)


def _replace_callable(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    wrapped: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with the one that is a callback wrapped."""
    return (
        tuple(wrapped(arg) if callable(arg) else arg for arg in args),
        {key: wrapped(arg) if callable(arg) else arg for key, arg in kwargs.items()},
    )
