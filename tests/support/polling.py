"""Waiting for what only shows from outside: a file, a process, an answer."""

import asyncio
from collections.abc import Awaitable, Callable

_LOOK = 0.03


async def until(condition: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Look until ``condition`` holds; AssertionError says ``what`` did not come."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_LOOK)


async def until_found[T](
    look: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = 60.0
) -> T:
    """Look until something is found."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        found = await look()
        if found is not None:
            return found
        if loop.time() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_LOOK)
