"""Closed histories by workflow id and run."""

from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied


class MemoryArchive:
    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._archive = server.archive
        self._call = session.call

    async def put(self, workflow_id: str, run: str, data: bytes) -> None:
        def put() -> None:
            self._server.log.check_room()
            self._archive.setdefault(workflow_id, {}).setdefault(run, copied(data))

        await self._call(put)

    async def get(self, workflow_id: str, run: str) -> bytes | None:
        return await self._call(lambda: self._archive.get(workflow_id, {}).get(run))

    async def runs(self, workflow_id: str) -> list[str]:
        return await self._call(lambda: list(self._archive.get(workflow_id, {})))
