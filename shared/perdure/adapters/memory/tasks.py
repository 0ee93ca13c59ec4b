"""Task queues: one message per key until it is settled, and the progress of its holder."""

from collections.abc import Callable

from perdure.adapters.memory.consumer import Delivered
from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.stream import copied
from perdure.ports.addresses import Stored, TaskKey
from perdure.ports.errors import Conflict
from perdure.ports.log import Subscription
from perdure.ports.tasks import TaskDelivery


class MemoryTaskDelivery(Delivered[TaskKey]):
    @property
    def key(self) -> TaskKey:
        return self._offer.source.subject


class MemoryTaskQueue:
    def __init__(self, server: Server, session: Session) -> None:
        self._server = server
        self._tasks = server.tasks
        self._session = session
        self._call = session.call

    async def offer(self, key: TaskKey, data: bytes, *, dedup: str = "") -> bool:
        def queue() -> bool:
            if self._tasks.known(key, dedup) is not None:
                return True
            if self._tasks.newest(key) is not None:
                return False
            self._tasks.append(key, data, dedup=dedup)
            return True

        return await self._call(queue)

    async def replace(self, key: TaskKey, data: bytes, *, seq: int) -> int:
        def swap() -> int:
            present = self._tasks.newest(key)
            found = present.stored.seq if present else 0
            if found != seq:
                raise Conflict(f"the task's message is {found}, not {seq}: somebody replaced it")
            replaced = self._tasks.append(key, data)
            # After the append, which may be refused for want of room and then changes nothing.
            self._tasks.remove(seq)
            return replaced

        return await self._call(swap)

    async def current(self, key: TaskKey) -> Stored | None:
        newest = await self._call(lambda: self._tasks.newest(key))
        return newest.stored if newest else None

    async def remove(self, key: TaskKey) -> None:
        def drop() -> None:
            if (present := self._tasks.newest(key)) is not None:
                self._tasks.remove(present.stored.seq)

        await self._call(drop)

    async def open(
        self, queue: str, on_delivery: Callable[[TaskDelivery], None], *, credit: int
    ) -> Subscription:
        return await self._call(
            lambda: self._server.queue(queue).open(
                self._session, lambda offer: on_delivery(MemoryTaskDelivery(offer)), credit=credit
            )
        )

    async def backlog(self, queue: str) -> int:
        return await self._call(lambda: self._server.queue(queue).waiting)


class MemoryHeartbeats:
    def __init__(self, server: Server, session: Session) -> None:
        self._progress = server.progress
        self._call = session.call

    async def beat(self, key: TaskKey, details: bytes) -> None:
        await self._call(lambda: self._progress.update({key: copied(details)}))

    async def last(self, key: TaskKey) -> bytes | None:
        return await self._call(lambda: self._progress.get(key))
