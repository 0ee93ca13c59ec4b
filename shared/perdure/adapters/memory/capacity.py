"""Room in the memory store: as much as a test says."""

from typing import Final

from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.ports.capacity import Usage

_WHOLE: Final = 1_000_000_000


class MemoryCapacity:
    """A disk of a billion bytes, whose taken part is set from outside."""

    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._session = session

    async def usage(self) -> Usage:
        room = self._server.room
        return await self._session.call(
            lambda: Usage(_WHOLE if room.full else round(room.taken * _WHOLE), _WHOLE)
        )
