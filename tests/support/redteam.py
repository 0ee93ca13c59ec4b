"""What the red team's tests share: a few workflows, and looks into the store from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.world import World

from perdure import activity, workflow
from perdure.adapters.memory.backend import MemoryStore
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.ports.members import Members

SHORT = timedelta(seconds=30)
DONE: list[str] = []


@activity.defn
async def note(what: str) -> str:
    DONE.append(what)
    return what


@workflow.defn
class Collector:
    """Ends at its ``until``-th letter, with every letter that was accepted before the end."""

    def __init__(self) -> None:
        self.letters: list[Any] = []

    @workflow.run
    async def run(self, until: int) -> list[Any]:
        await workflow.wait_condition(lambda: len(self.letters) >= until)
        return self.letters

    @workflow.signal
    def post(self, letter: Any) -> None:
        self.letters.append(letter)

    @workflow.query
    def so_far(self) -> list[Any]:
        return self.letters


@workflow.defn(name="Clerk")
class Writer(Collector):
    """A collector that writes something first."""

    @workflow.run
    async def run(self, until: int) -> list[Any]:
        await workflow.execute_activity(note, "written", start_to_close_timeout=SHORT)
        await workflow.wait_condition(lambda: len(self.letters) >= until)
        return self.letters


@workflow.defn(name="Clerk")
class Changed(Collector):
    """The same name, other decisions."""

    @workflow.run
    async def run(self, until: int) -> list[Any]:
        await workflow.sleep(timedelta(days=1))
        return self.letters


class Alone:
    """Members as somebody sees them who believes to be the only one."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def __getattr__(self, name: str) -> Any:
        return getattr(self._members, name)

    async def list(self, group: tuple[str, ...]) -> dict[str, bytes]:
        return {} if group[0] == "scheduler" else await self._members.list(group)


def alone(backend: Backend) -> Backend:
    """An owner of every partition, whoever else there is."""
    return replace(backend, members=Alone(backend.members))


async def until(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]], patience: float) -> None:
    async with asyncio.timeout(patience):
        while True:
            answer = is_so()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.05)


async def is_blocked(one: World, workflow_id: str) -> bool:
    entry = await one.entry(workflow_id)
    return entry is not None and bool(entry.blocked)


def in_log(store: MemoryStore, workflow_id: str) -> list[tuple[Lane, int]]:
    """What the log still holds of an id."""
    return [
        (message.subject[1], message.stored.seq)
        for message in store._server.log.messages()
        if message.subject[0].workflow_id == workflow_id
    ]


def address(workflow_id: str, queue: str = "default") -> Address:
    return Address(queue, workflow_id)


__all__ = [
    "DONE",
    "SHORT",
    "Alone",
    "Changed",
    "Collector",
    "Writer",
    "address",
    "alone",
    "in_log",
    "is_blocked",
    "note",
    "until",
]
