"""Who is alive: the last beat of each, for as long as it said."""

from perdure.adapters.memory.server import Life, Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied


class MemoryMembers:
    def __init__(self, server: Server, session: Session) -> None:
        self._time = server.time
        self._members = server.members
        self._call = session.call

    async def beat(self, group: tuple[str, ...], member: str, data: bytes, *, ttl: int) -> None:
        def beat() -> None:
            life = Life(copied(data), self._time.now() + ttl)
            self._members.setdefault(tuple(group), {})[member] = life

        await self._call(beat)

    async def leave(self, group: tuple[str, ...], member: str) -> None:
        await self._call(lambda: self._members.get(tuple(group), {}).pop(member, None))

    async def list(self, group: tuple[str, ...]) -> dict[str, bytes]:
        return await self._call(lambda: self._alive(tuple(group)))

    def _alive(self, asked: tuple[str, ...]) -> dict[str, bytes]:
        now = self._time.now()
        found: dict[str, bytes] = {}
        for group, lives in self._members.items():
            whole = group == asked
            if not whole and not (len(asked) == 1 and group[:1] == asked):
                continue
            for member in [member for member, life in lives.items() if life.ends <= now]:
                del lives[member]
            for member, life in lives.items():
                found[member if whole else "/".join((*group[1:], member))] = life.data
        return found
