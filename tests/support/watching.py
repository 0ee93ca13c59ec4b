"""Looking at workflows from outside while parts of the system are down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from perdure.client import Client, UnavailableError, WorkflowHandle
from perdure.core.errors import WorkflowNotFoundError
from perdure.ports.errors import PortError

Rows = list[dict[str, Any]]


async def insist[T](call: Callable[[], Awaitable[T]], *, seconds: float = 60.0) -> T:
    """Call until the system is there and knows the id."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await call()
            except (UnavailableError, PortError, WorkflowNotFoundError, OSError):
                await asyncio.sleep(0.05)


async def history_when(
    client: Client, workflow_id: str, wanted: Callable[[Rows], bool], *, seconds: float = 60.0
) -> Rows:
    """The id's events and commands, as soon as they are as wanted."""
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
    rows: Rows = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    rows = (await handle.fetch_history()).events
                except (UnavailableError, PortError, WorkflowNotFoundError):
                    await asyncio.sleep(0.02)
                    continue
                if wanted(rows):
                    return rows
                await asyncio.sleep(0.01)
    except TimeoutError:
        shown = [row["type"] for row in rows[:-1]] + rows[-1:]
        raise AssertionError(f"{workflow_id}: the history stayed {shown}") from None


def types(rows: Rows) -> list[str]:
    return [str(row["type"]) for row in rows]
