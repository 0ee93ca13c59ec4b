"""The log of workflows: three literal subjects each, in one stream."""

from collections.abc import Sequence

from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.ports.addresses import Address, Lane, Stored


class MemoryEventLog:
    def __init__(self, server: Server, session: Session) -> None:
        self._log = server.log
        self._call = session.call

    async def append(self, to: Address, lane: Lane, data: bytes, *, dedup: str = "") -> int:
        return await self._call(lambda: self._log.append((to, lane), data, dedup=dedup))

    async def commit(self, to: Address, data: bytes, *, after: int) -> int:
        return await self._call(
            lambda: self._log.append_after((to, Lane.HISTORY), data, after=after)
        )

    async def tip(self, of: Address) -> Stored | None:
        newest = await self._call(lambda: self._log.newest((of, Lane.HISTORY)))
        return newest.stored if newest else None

    async def read(self, seqs: Sequence[int]) -> list[Stored | None]:
        wanted = list(seqs)
        found = await self._call(lambda: [self._log.get(seq) for seq in wanted])
        return [message.stored if message else None for message in found]

    async def following(
        self, of: Address, lane: Lane, after: int, limit: int = 256
    ) -> list[Stored]:
        found = await self._call(lambda: self._log.following((of, lane), after, limit))
        return [message.stored for message in found]

    async def purge(self, of: Address, through: int) -> None:
        def forget() -> None:
            for lane in Lane:
                self._log.purge((of, lane), through)

        await self._call(forget)
