"""STATE: entries by workflow id, changed by compare-and-set alone."""

from collections.abc import AsyncIterator, Callable

from perdure.adapters.memory.server import Server, StateEntry
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied
from perdure.ports.errors import AlreadyExists, Conflict
from perdure.ports.log import Subscription


class MemoryStateStore:
    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._session = session
        self._call = session.call

    async def create(self, workflow_id: str, data: bytes) -> int:
        def create() -> int:
            if self._live(workflow_id) is not None:
                raise AlreadyExists(f"workflow id {workflow_id!r} has an entry")
            return self._write(workflow_id, data, ttl=0)

        return await self._call(create)

    async def read(self, workflow_id: str) -> tuple[bytes, int] | None:
        entry = await self._call(lambda: self._live(workflow_id))
        return (entry.data, entry.revision) if entry else None

    async def update(self, workflow_id: str, data: bytes, *, revision: int, ttl: int = 0) -> int:
        def update() -> int:
            entry = self._live(workflow_id)
            if entry is None or entry.revision != revision:
                found = entry.revision if entry else "none"
                raise Conflict(f"the entry's revision is {found}, not {revision}: read it again")
            return self._write(workflow_id, data, ttl=ttl)

        return await self._call(update)

    async def watch(self, workflow_id: str, on_change: Callable[[bytes], None]) -> Subscription:
        hub = self._server.state_changes
        return await self._call(lambda: hub.listen(workflow_id, self._session, on_change))

    async def scan(self) -> AsyncIterator[tuple[bytes, int]]:
        ids = await self._call(lambda: list(self._server.state))
        for workflow_id in ids:
            if (entry := self._live(workflow_id)) is not None:
                yield entry.data, entry.revision

    def _live(self, workflow_id: str) -> StateEntry | None:
        entry = self._server.state.get(workflow_id)
        if entry is not None and entry.expires and entry.expires <= self._server.time.now():
            del self._server.state[workflow_id]
            return None
        return entry

    def _write(self, workflow_id: str, data: bytes, *, ttl: int) -> int:
        server = self._server
        content = copied(data)
        server.log.check_room()
        server.state_revision += 1
        expires = server.time.now() + ttl if ttl > 0 else 0
        server.state[workflow_id] = StateEntry(content, server.state_revision, expires)
        server.state_changes.tell(workflow_id, content)
        return server.state_revision
