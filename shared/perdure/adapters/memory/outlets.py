"""What leaves the engine: announcements, dead letters, replies."""

from collections.abc import AsyncIterator, Mapping

from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied
from perdure.ports.addresses import Stored


class MemoryAnnouncements:
    def __init__(self, server: Server, session: Session) -> None:
        self._events = server.events
        self._call = session.call

    async def announce(
        self, workflow_type: str, workflow_id: str, data: bytes, *, dedup: str
    ) -> None:
        await self._call(
            lambda: self._events.append((workflow_type, workflow_id), data, dedup=dedup)
        )


class MemoryDeadLetters:
    def __init__(self, server: Server, session: Session) -> None:
        self._letters = server.letters
        self._call = session.call

    async def put(self, kind: str, workflow_id: str, data: bytes, *, dedup: str) -> None:
        await self._call(lambda: self._letters.append((kind, workflow_id), data, dedup=dedup))

    async def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        seqs = await self._call(
            lambda: [m.stored.seq for m in self._letters.messages() if m.stored.seq > after]
        )
        for seq in seqs:
            if (message := self._letters.get(seq)) is not None:
                yield message.stored

    async def remove(self, seq: int) -> None:
        await self._call(lambda: self._letters.remove(seq))


class MemoryReplies:
    def __init__(self, server: Server, session: Session) -> None:
        self._replies = server.replies
        self._call = session.call

    async def reply(self, to: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        word = (copied(data), dict(headers or {}))
        await self._call(lambda: self._replies.tell(to, word))
