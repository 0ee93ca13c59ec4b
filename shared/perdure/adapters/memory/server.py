"""What all processes attached to one memory store share: streams, consumers and tables."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from perdure.adapters.memory.consumer import Consumer
from perdure.adapters.memory.stream import Room, Stream
from perdure.adapters.memory.stream_time import Alarm, StreamTime
from perdure.adapters.memory.topics import Hub
from perdure.core.ids import SLOTS
from perdure.ports.addresses import Address, Lane, TaskKey, TimerKey
from perdure.ports.ingress import RequestKind

type LogSubject = tuple[Address, Lane]
type RequestSubject = tuple[RequestKind, tuple[str, ...]]
type Word = tuple[bytes, Mapping[str, str]]

HEADROOM = 100_000
"""What a stream takes beyond the largest record: room for an envelope, as on the real server."""


@dataclass(slots=True)
class ArmedTimer:
    """A timer that has not fired, and what it will append."""

    armed: int
    due: int
    fired: bytes
    alarm: Alarm


@dataclass(slots=True)
class StateEntry:
    """``expires`` 0: never."""

    data: bytes
    revision: int
    expires: int = 0


@dataclass(slots=True)
class Life:
    """A member's last word and when it no longer counts."""

    data: bytes
    ends: int


@dataclass(slots=True)
class Question:
    """A question on its way, and where the answer goes."""

    data: bytes
    answer: asyncio.Future[bytes]


class Server:
    """Holds everything; the ports of each process reach it through their session alone."""

    def __init__(self, *, epoch: int | None, lease: int, partitions: int, max_message: int) -> None:
        self.time = StreamTime(epoch)
        self.room = Room()
        self.lease = lease
        self.partitions = partitions
        limit = max_message + HEADROOM
        self.log: Stream[LogSubject] = Stream(self.time, self.room, limit=limit)
        self.tasks: Stream[TaskKey] = Stream(self.time, self.room, limit=limit)
        # Outsiders choose their message ids for the whole door.
        self.requests: Stream[RequestSubject] = Stream(
            self.time, self.room, limit=limit, words_of_all_subjects=True
        )
        self.events: Stream[tuple[str, str]] = Stream(self.time, self.room, limit=limit)
        self.letters: Stream[tuple[str, str]] = Stream(self.time, self.room, limit=limit)
        self.timers: dict[TimerKey, ArmedTimer] = {}
        self.state: dict[str, StateEntry] = {}
        self.state_revision = 0
        self.progress: dict[TaskKey, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.archive: dict[str, dict[str, bytes]] = {}
        self.members: dict[tuple[str, ...], dict[str, Life]] = {}
        self.told: Hub[bytes] = Hub(self.time)
        self.asked: Hub[Question] = Hub(self.time)
        self.state_changes: Hub[bytes] = Hub(self.time)
        self.replies: Hub[Word] = Hub(self.time)
        self._inboxes: dict[tuple[str, int], Consumer[LogSubject]] = {}
        self._queues: dict[str, Consumer[TaskKey]] = {}
        self.door: Consumer[RequestSubject] = Consumer(
            self.requests, self.time, wants=lambda _: True, lease=lease
        )

    def inbox(self, queue: str, partition: int) -> Consumer[LogSubject]:
        """The consumer of a partition: made by its first opener, kept for ever."""
        if not 0 <= partition < self.partitions:
            raise ValueError(f"partition {partition} of {self.partitions}: count from 0")

        def wants(subject: LogSubject) -> bool:
            address, lane = subject
            return (
                address.queue == queue
                and lane is not Lane.HISTORY
                and self.partition_of(address) == partition
            )

        consumer = self._inboxes.get((queue, partition))
        if consumer is None:
            consumer = Consumer(self.log, self.time, wants=wants, lease=self.lease)
            self._inboxes[queue, partition] = consumer
        return consumer

    def partition_of(self, address: Address) -> int:
        """Partitions are equal ranges of slots, so that their number can change."""
        return address.slot * self.partitions // SLOTS

    def queue(self, name: str) -> Consumer[TaskKey]:
        """The consumer of a task queue, whose acknowledgements take the tasks out."""
        consumer = self._queues.get(name)
        if consumer is None:
            consumer = Consumer(
                self.tasks,
                self.time,
                wants=lambda key: key.queue == name,
                lease=self.lease,
                on_settled=self.tasks.remove,
            )
            self._queues[name] = consumer
        return consumer
