"""Which partitions this scheduler serves: by who is alive, without asking anyone.

Every member computes the same split (rendezvous hashing over the members it sees). For a moment two
may serve one partition, or none: that costs work and time, never correctness, since every turn is
fenced by its commit.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from perdure.core.durations import SECOND
from perdure.engine.scheduler.context import Context, logger
from perdure.ports.errors import PortError


def rendezvous(members: Iterable[str], key: str) -> str:
    """The member that ``key`` belongs to; a member that comes or goes moves only its own keys."""

    def weight(member: str) -> bytes:
        return hashlib.blake2b(f"{member}|{key}".encode(), digest_size=8).digest()

    return max(members, key=weight)


class Ownership:
    """Keeps beating and keeps the served partitions as they should be."""

    def __init__(
        self,
        context: Context,
        *,
        take: Callable[[int], Awaitable[None]],
        give_up: Callable[[int], Awaitable[None]],
    ) -> None:
        self._context = context
        self._take = take
        self._give_up = give_up
        self._group = ("scheduler", context.options.task_queue)
        self.owned: set[int] = set()

    async def join(self) -> None:
        """Say that this member lives, and take what is its own."""
        await self._beat()
        await self.adjust()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._context.options.member_beat / SECOND)
            try:
                await self._beat()
                await self.adjust()
            except PortError as error:
                # Unheard of is not dead: what it serves it goes on serving.
                self._context.notice(error)
                logger.warning("membership is not updated: %s", error)

    async def leave(self) -> None:
        """Hand over: the others see it at their next look."""
        try:
            await self._context.backend.members.leave(self._group, self._context.options.identity)
        except PortError as error:
            logger.warning("could not leave the membership: %s", error)

    async def adjust(self) -> None:
        me = self._context.options.identity
        members = set(await self._context.backend.members.list(self._group)) | {me}
        mine = {
            partition
            for partition in range(self._context.backend.partitions)
            if rendezvous(members, str(partition)) == me
        }
        for partition in sorted(self.owned - mine):
            self.owned.discard(partition)
            await self._give_up(partition)
        taken = [self._take_over(partition) for partition in sorted(mine - self.owned)]
        for result in await asyncio.gather(*taken, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _take_over(self, partition: int) -> None:
        await self._take(partition)
        self.owned.add(partition)

    async def _beat(self) -> None:
        options = self._context.options
        word = {
            "queue": options.task_queue,
            "build": options.build,
            "partitions": sorted(self.owned),
            "workflows": sorted(self._context.registry.workflows),
        }
        await self._context.backend.members.beat(
            self._group, options.identity, msgspec.json.encode(word), ttl=options.member_ttl
        )
