"""EventLog and Inbox: the LOG stream's literal lanes, and its consumers per partition."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from perdure.adapters.jetstream import headers
from perdure.adapters.jetstream.consumers import consumer_config, end_leases, ensure_consumer
from perdure.adapters.jetstream.dedup import identified
from perdure.adapters.jetstream.link import Link, RawMessage
from perdure.adapters.jetstream.pull import Held, Pull
from perdure.adapters.jetstream.reads import leader_get
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Address, Lane, Stored
from perdure.ports.clock import Clock
from perdure.ports.errors import PortError
from perdure.ports.log import Delivery, Subscription

logger = logging.getLogger("perdure.nats")

_BATCH_BYTES = 8 * 1024 * 1024
LEASE = 10_000_000_000


def stored(raw: RawMessage) -> Stored:
    return Stored(raw.seq, raw.timestamp, raw.data)


class JetStreamLog:
    """The EventLog port. ``replicas`` > 1: what must be linearizable is read from the leader."""

    def __init__(self, link: Link, subjects: Subjects, *, replicas: int = 1) -> None:
        self._link = link
        self._subjects = subjects
        self._stream = subjects.log_stream
        self._replicated = replicas > 1

    async def append(self, to: Address, lane: Lane, data: bytes, *, dedup: str = "") -> int:
        subject = self._subjects.lane(to, lane)
        if not dedup:
            return (await self._link.publish(subject, data)).seq
        head = identified(subject, dedup)
        return (await self._link.publish(subject, data, head, idempotent=True)).seq

    async def commit(self, to: Address, data: bytes, *, after: int) -> int:
        subject = self._subjects.lane(to, Lane.HISTORY)
        return (await self._link.publish(subject, data, headers.after(after))).seq

    async def tip(self, of: Address) -> Stored | None:
        subject = self._subjects.lane(of, Lane.HISTORY)
        raw = await self._link.last_message(self._stream, subject, leader=self._replicated)
        return None if raw is None else stored(raw)

    async def read(self, seqs: Sequence[int]) -> list[Stored | None]:
        found = await self._link.direct_get(self._stream, seqs)
        if self._replicated:
            # A replica that lags behind does not have it yet: only the leader can say "gone".
            for at, raw in enumerate(found):
                if raw is None:
                    found[at] = await leader_get(self._link, self._stream, {"seq": seqs[at]})
        return [None if raw is None else stored(raw) for raw in found]

    async def following(
        self, of: Address, lane: Lane, after: int, limit: int = 256
    ) -> list[Stored]:
        subject = self._subjects.lane(of, lane)
        found: list[Stored] = []
        while len(found) < limit:
            start, wanted = (found[-1].seq if found else after) + 1, limit - len(found)
            body = {"seq": start, "next_by_subj": subject, "batch": wanted}
            batch = await self._link.batch_get(self._stream, {**body, "max_bytes": _BATCH_BYTES})
            found += map(stored, batch)
            if len(batch) == wanted or sum(len(raw.data) for raw in batch) > _BATCH_BYTES // 2:
                continue
            if not self._replicated:
                break
            # The replica that answered may lag behind: only the leader can say that this is all.
            start = (found[-1].seq if found else after) + 1
            query = {"seq": start, "next_by_subj": subject}
            newer = await leader_get(self._link, self._stream, query)
            if newer is None:
                break
            found.append(stored(newer))
        return found

    async def purge(self, of: Address, through: int) -> None:
        body = {"filter": self._subjects.lanes(of), "seq": through + 1}
        await self._link.api(f"STREAM.PURGE.{self._stream}", body)


class LogDelivery(Held):
    """A delivery that knows whose event it is."""

    __slots__ = ()
    subjects: Subjects

    def _parse(self) -> tuple[Address, Lane]:
        place = self.parsed = self.subjects.parse_lane(self.raw_subject.decode())
        return place

    @property
    def address(self) -> Address:
        return (self.parsed or self._parse())[0]

    @property
    def lane(self) -> Lane:
        return (self.parsed or self._parse())[1]


class JetStreamInbox:
    """The Inbox port: one durable consumer per queue and partition."""

    def __init__(
        self,
        link: Link,
        subjects: Subjects,
        *,
        partitions: int = 4,
        lease: int = LEASE,
        create: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._link = link
        self._subjects = subjects
        self._partitions = partitions
        self._lease = lease
        self._create = create
        self._clock = clock
        self._kind = type(
            "BoundLogDelivery", (LogDelivery,), {"__slots__": (), "subjects": subjects}
        )

    async def open(
        self,
        queue: str,
        partition: int,
        on_delivery: Callable[[Delivery], None],
        *,
        credit: int,
        reclaim: bool = False,
    ) -> Subscription:
        stream, name = self._subjects.log_stream, self._subjects.log_consumer(queue, partition)
        filters = self._subjects.partition_filters(queue, partition, self._partitions)
        config = consumer_config(name, filters, self._lease)
        if reclaim and self._create:
            try:
                await end_leases(self._link, stream, config)
            except PortError as error:
                logger.warning("what a lost process held comes when its lease is over: %s", error)
        pull = Pull(
            self._link,
            stream,
            name,
            on_delivery,
            credit=credit,
            ensure=partial(ensure_consumer, self._link, stream, config, create=self._create),
            kind=self._kind,
            clock=self._clock,
        )
        return await pull.start()
