"""TaskQueue and Heartbeats: the TASKS work queue, and newest-only progress in LOG.

A purge, and so a roll-up, of a message that somebody holds makes the server's consumer forget other
messages that are held (its floor of acknowledgements runs ahead). So a task is replaced by the
stream's limit of one message per subject, and removed by its sequence.
"""

from collections.abc import Callable
from functools import partial

from perdure.adapters.jetstream.consumers import consumer_config, ensure_consumer
from perdure.adapters.jetstream.dedup import identified
from perdure.adapters.jetstream.errors import NO_SUCH_SEQUENCE, Missing, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.log import LEASE, stored
from perdure.adapters.jetstream.pull import Held, Pull
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Stored, TaskKey
from perdure.ports.clock import Clock
from perdure.ports.errors import Conflict, PortError
from perdure.ports.log import Subscription
from perdure.ports.tasks import TaskDelivery

_BEATS_LIVE = "168h"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_ALONE = b"%b: 0\r\n" % _EXPECTED.encode()


class BoundTask(Held):
    """A delivery that knows which task it is."""

    __slots__ = ()
    subjects: Subjects

    @property
    def key(self) -> TaskKey:
        if self.parsed is None:
            self.parsed = self.subjects.parse_task(self.raw_subject.decode())
        return self.parsed


class JetStreamTasks:
    """The TaskQueue port: one message per subject, one consumer per queue."""

    def __init__(
        self,
        link: Link,
        subjects: Subjects,
        *,
        replicas: int = 1,
        lease: int = LEASE,
        create: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._link = link
        self._subjects = subjects
        self._stream = subjects.tasks_stream
        self._replicated = replicas > 1
        self._lease = lease
        self._create = create
        self._clock = clock
        self._kind = type(
            "BoundTaskDelivery", (BoundTask,), {"__slots__": (), "subjects": subjects}
        )

    async def offer(self, key: TaskKey, data: bytes, *, dedup: str = "") -> bool:
        subject = self._subjects.task(key)
        head = identified(subject, dedup, also=_ALONE) if dedup else b"NATS/1.0\r\n%b\r\n" % _ALONE
        try:
            await self._link.publish(subject, data, head, idempotent=bool(dedup))
        except Conflict:
            return False
        return True

    async def replace(self, key: TaskKey, data: bytes, *, seq: int) -> int:
        headers = {_EXPECTED: str(seq)}
        return (await self._link.publish(self._subjects.task(key), data, headers)).seq

    async def current(self, key: TaskKey) -> Stored | None:
        subject = self._subjects.task(key)
        raw = await self._link.last_message(self._stream, subject, leader=self._replicated)
        return None if raw is None else stored(raw)

    async def remove(self, key: TaskKey) -> None:
        while (current := await self.current(key)) is not None:
            body = {"seq": current.seq, "no_erase": True}
            try:
                await self._link.api(f"STREAM.MSG.DELETE.{self._stream}", body)
            except PortError as error:
                if err_code_of(error) not in NO_SUCH_SEQUENCE:
                    raise

    async def open(
        self, queue: str, on_delivery: Callable[[TaskDelivery], None], *, credit: int
    ) -> Subscription:
        name = self._subjects.task_consumer(queue)
        config = consumer_config(name, [self._subjects.queue_tasks(queue)], self._lease)
        pull = Pull(
            self._link,
            self._stream,
            name,
            on_delivery,
            credit=credit,
            ensure=partial(ensure_consumer, self._link, self._stream, config, create=self._create),
            kind=self._kind,
            clock=self._clock,
        )
        return await pull.start()

    async def backlog(self, queue: str) -> int:
        name = self._subjects.task_consumer(queue)
        try:
            info = await self._link.api(f"CONSUMER.INFO.{self._stream}.{name}")
        except Missing:
            # Nobody has served the queue yet: all of its tasks wait.
            body = {"subjects_filter": self._subjects.queue_tasks(queue)}
            answer = await self._link.api(f"STREAM.INFO.{self._stream}", body)
            counts: dict[str, int] = answer["state"].get("subjects") or {}
            return sum(counts.values())
        return int(info["num_pending"])


class JetStreamHeartbeats:
    """The Heartbeats port: the newest beat of a task, kept for a week."""

    def __init__(self, link: Link, subjects: Subjects, *, replicas: int = 1) -> None:
        self._link = link
        self._subjects = subjects
        self._replicated = replicas > 1

    async def beat(self, key: TaskKey, details: bytes) -> None:
        headers = {"Nats-Rollup": "sub", "Nats-TTL": _BEATS_LIVE}
        await self._link.publish(self._subjects.beat(key), details, headers, idempotent=True)

    async def last(self, key: TaskKey) -> bytes | None:
        raw = await self._link.last_message(
            self._subjects.log_stream, self._subjects.beat(key), leader=self._replicated
        )
        return None if raw is None else raw.data
