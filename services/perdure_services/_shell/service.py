"""What the shell runs: components of the engine that begin, are ready, hurry and end."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from perdure.ports.backend import Backend
from perdure.ports.errors import PortError

_PROBE = 2.0


class Running(Protocol):
    """A component at work."""

    async def why_not_ready(self) -> str:
        """Why it does not do its part; empty when it does. Raises PortError when the store is
        away."""
        ...

    def hurry(self) -> None:
        """The end must come at once: give up what would take time."""
        ...


class Service(Protocol):
    """A component to be run over a namespace."""

    @property
    def name(self) -> str: ...

    def running(self, backend: Backend) -> AbstractAsyncContextManager[Running]:
        """Starts it; stops it gracefully on the way out. Raises PortError when the store is away."""
        ...


async def why_not_ready(running: Running) -> str:
    """The component's word, or that the store does not answer."""
    try:
        async with asyncio.timeout(_PROBE):
            return await running.why_not_ready()
    except TimeoutError:
        return f"JetStream did not answer within {_PROBE:g} s"
    except PortError as error:
        return str(error)
