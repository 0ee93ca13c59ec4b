"""The store that several processes in one process share, and one connection to it."""

from collections.abc import Callable, Mapping

from perdure.adapters.memory.archive import MemoryArchive
from perdure.adapters.memory.blobs import MemoryBlobStore
from perdure.adapters.memory.capacity import MemoryCapacity
from perdure.adapters.memory.clock import MemoryClock
from perdure.adapters.memory.inbox import MemoryInbox
from perdure.adapters.memory.ingress import MemoryIngress
from perdure.adapters.memory.log import MemoryEventLog
from perdure.adapters.memory.members import MemoryMembers
from perdure.adapters.memory.messages import MemoryMessages
from perdure.adapters.memory.outlets import (
    MemoryAnnouncements,
    MemoryDeadLetters,
    MemoryReplies,
)
from perdure.adapters.memory.server import Server
from perdure.adapters.memory.session import Session
from perdure.adapters.memory.state import MemoryStateStore
from perdure.adapters.memory.tasks import MemoryHeartbeats, MemoryTaskQueue
from perdure.adapters.memory.timers import MemoryTimers
from perdure.core.durations import SECOND
from perdure.core.ids import check_namespace
from perdure.ports.backend import Backend
from perdure.ports.ingress import RequestKind
from perdure.ports.log import Subscription


class MemoryStore:
    """One namespace in memory. It belongs to the event loop that first uses it.

    ``epoch`` is the stream time at which the loop's clock reads zero; by default a virtual loop
    brings its own and any other loop goes by the wall clock.
    """

    def __init__(
        self,
        namespace: str = "default",
        *,
        lease: int = 10 * SECOND,
        partitions: int = 4,
        max_message: int = 900_000,
        epoch: int | None = None,
    ) -> None:
        self._namespace = check_namespace(namespace)
        self._max_message = max_message
        self._server = Server(
            epoch=epoch, lease=lease, partitions=partitions, max_message=max_message
        )
        self._sessions: list[tuple[Backend, Session]] = []

    def backend(self) -> Backend:
        """A connection of its own, as a process has one. Call it in the store's loop."""
        server, session = self._server, Session()
        backend = Backend(
            namespace=self._namespace,
            log=MemoryEventLog(server, session),
            inbox=MemoryInbox(server, session),
            tasks=MemoryTaskQueue(server, session),
            heartbeats=MemoryHeartbeats(server, session),
            timers=MemoryTimers(server, session),
            state=MemoryStateStore(server, session),
            blobs=MemoryBlobStore(server, session),
            archive=MemoryArchive(server, session),
            announcements=MemoryAnnouncements(server, session),
            dead_letters=MemoryDeadLetters(server, session),
            replies=MemoryReplies(server, session),
            ingress=MemoryIngress(server, session),
            messages=MemoryMessages(server, session),
            members=MemoryMembers(server, session),
            clock=MemoryClock(server),
            capacity=MemoryCapacity(server, session),
            max_message=self._max_message,
            lease=server.lease,
            partitions=server.partitions,
        )
        self._sessions.append((backend, session))
        return backend

    def crash(self, backend: Backend) -> None:
        """The process behind ``backend`` dies: nothing reaches it or leaves it any more. What it
        held is offered again when its leases end."""
        for known, session in self._sessions:
            if known is backend:
                session.cut()
        self._sessions = [pair for pair in self._sessions if pair[1].alive]

    @property
    def now(self) -> int:
        """The store's own clock."""
        return self._server.time.now()

    @property
    def full(self) -> bool:
        """Whether the disk is full: then nothing is written, and timers that fall due get stuck."""
        return self._server.room.full

    @full.setter
    def full(self, value: bool) -> None:
        self._server.room.full = value

    @property
    def taken(self) -> float:
        """The part of the disk that is said to be taken."""
        return self._server.room.taken

    @taken.setter
    def taken(self, value: float) -> None:
        self._server.room.taken = value

    async def request(
        self,
        kind: RequestKind,
        tokens: tuple[str, ...],
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Publish to the durable front door, as anyone may; the request's sequence."""
        server = self._server
        given = dict(headers or {})
        return await Session().call(
            lambda: server.requests.append(
                (kind, tuple(tokens)), data, dedup=given.get("Nats-Msg-Id", ""), headers=given
            )
        )

    async def announced(self, *, after: int = 0) -> list[bytes]:
        """What was announced, oldest first."""
        events = self._server.events
        return await Session().call(
            lambda: [m.stored.data for m in events.messages() if m.stored.seq > after]
        )

    async def on_reply(
        self, address: str, on_reply: Callable[[bytes, Mapping[str, str]], None]
    ) -> Subscription:
        """Listen on a subject that a request may name for its reply."""
        hub, session = self._server.replies, Session()
        return await session.call(
            lambda: hub.listen(address, session, lambda word: on_reply(word[0], word[1]))
        )
