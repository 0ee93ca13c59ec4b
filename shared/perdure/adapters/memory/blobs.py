"""Large payloads by key."""

from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied


class MemoryBlobStore:
    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._blobs = server.blobs
        self._call = session.call

    async def put(self, key: str, data: bytes) -> None:
        def put() -> None:
            self._server.log.check_room()
            self._blobs.setdefault(key, copied(data))

        await self._call(put)

    async def get(self, key: str) -> bytes | None:
        return await self._call(lambda: self._blobs.get(key))

    async def delete(self, prefix: str) -> None:
        def delete() -> None:
            for key in [key for key in self._blobs if key.startswith(prefix)]:
                del self._blobs[key]

        await self._call(delete)
