"""All ports of one namespace over one connection: what composition roots call."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from perdure.adapters.jetstream.archive import JetStreamArchive
from perdure.adapters.jetstream.blobs import JetStreamBlobs
from perdure.adapters.jetstream.capacity import JetStreamCapacity
from perdure.adapters.jetstream.clock import StreamClock
from perdure.adapters.jetstream.ingress import JetStreamIngress
from perdure.adapters.jetstream.link import ConnectOptions, Link
from perdure.adapters.jetstream.log import JetStreamInbox, JetStreamLog
from perdure.adapters.jetstream.members import JetStreamMembers
from perdure.adapters.jetstream.messages import JetStreamMessages
from perdure.adapters.jetstream.outlets import (
    JetStreamAnnouncements,
    JetStreamDeadLetters,
    JetStreamReplies,
)
from perdure.adapters.jetstream.state import JetStreamState
from perdure.adapters.jetstream.streams import (
    DEFAULT_PARTITIONS,
    PARTITIONS_KEY,
    TopologyOptions,
)
from perdure.adapters.jetstream.subjects import PARTITIONS, Subjects
from perdure.adapters.jetstream.tasks import JetStreamHeartbeats, JetStreamTasks
from perdure.adapters.jetstream.timers import JetStreamTimers
from perdure.adapters.jetstream.topology import ensure
from perdure.core.durations import nanoseconds
from perdure.ports.backend import Backend

_HEADROOM = 64 * 1024
_LARGEST_MESSAGE = 900_000
_DEPOSED = 30_000_000_000
"""A leader that is cut off goes on answering reads for up to 20 s; then it knows."""


@dataclass(frozen=True, kw_only=True)
class JetStreamOptions:
    """A namespace on a server. ``create=False`` only verifies the streams; ``replicas``,
    ``partitions`` and ``retention`` are the namespace's when None. ``store_limit`` says how many bytes
    the account has where it has no limit of its own (0: nobody knows); beyond ``store_threshold`` of
    them no workflow is started."""

    connection: ConnectOptions = field(default_factory=ConnectOptions)
    namespace: str = "default"
    prefix: str = "perdure"
    stream_prefix: str = ""
    create: bool = True
    replicas: int | None = None
    retention: timedelta | None = None
    max_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    partitions: int | None = None
    lease: timedelta = timedelta(seconds=10)
    reply_prefixes: Sequence[str] = ()
    store_limit: int = 0
    store_threshold: float = 0.85

    def __post_init__(self) -> None:
        if self.partitions is not None and self.partitions not in PARTITIONS:
            raise ValueError(f"partitions must be one of {PARTITIONS}, not {self.partitions}")
        if self.lease < timedelta(seconds=1):
            raise ValueError(f"lease must be at least a second, not {self.lease}")
        if self.store_limit < 0:
            raise ValueError(f"store_limit must not be negative: {self.store_limit}")
        if not 0.1 <= self.store_threshold <= 1:
            raise ValueError(f"store_threshold must be from 0.1 to 1, not {self.store_threshold}")

    @property
    def subjects(self) -> Subjects:
        return Subjects(self.namespace, self.prefix, self.stream_prefix)

    @property
    def topology(self) -> TopologyOptions:
        return TopologyOptions(
            create=self.create,
            replicas=self.replicas,
            partitions=self.partitions,
            retention=self.retention,
            max_bytes=self.max_bytes,
        )


@asynccontextmanager
async def connect(options: JetStreamOptions | None = None) -> AsyncGenerator[Backend]:
    """A namespace's ports, ready for use; the connection closes with the context.

    Raises Unavailable when no server answers or it is too old, TopologyError when its streams
    cannot be used as they are.
    """
    chosen = options or JetStreamOptions()
    link = await Link.connect(chosen.connection)
    try:
        await ensure(link, chosen.subjects, chosen.topology)
        yield await compose(link, chosen)
    finally:
        await asyncio.shield(link.close())


async def compose(link: Link, options: JetStreamOptions) -> Backend:
    """The ports over a link whose streams are there."""
    subjects = options.subjects
    replicas, partitions = await _shape(link, subjects)
    lease = nanoseconds(options.lease)
    clock = await StreamClock.start(link, subjects.log_stream)
    return Backend(
        namespace=options.namespace,
        log=JetStreamLog(link, subjects, replicas=replicas),
        inbox=JetStreamInbox(link, subjects, partitions=partitions, lease=lease, clock=clock),
        tasks=JetStreamTasks(link, subjects, replicas=replicas, lease=lease, clock=clock),
        heartbeats=JetStreamHeartbeats(link, subjects, replicas=replicas),
        timers=JetStreamTimers(link, subjects, replicas=replicas),
        state=JetStreamState(link, subjects, replicas=replicas),
        blobs=JetStreamBlobs(link, subjects),
        archive=JetStreamArchive(link, subjects),
        announcements=JetStreamAnnouncements(link, subjects),
        dead_letters=JetStreamDeadLetters(link, subjects),
        replies=JetStreamReplies(link, prefixes=options.reply_prefixes),
        ingress=JetStreamIngress(link, subjects, lease=lease, clock=clock),
        messages=JetStreamMessages(link, subjects),
        members=JetStreamMembers(link, subjects),
        clock=clock,
        capacity=JetStreamCapacity(link, replicas=replicas, limit=options.store_limit),
        max_message=min(_LARGEST_MESSAGE, link.max_payload - _HEADROOM),
        lease=lease,
        unsure=_DEPOSED if replicas > 1 else 0,
        partitions=partitions,
        store_threshold=options.store_threshold,
    )


async def _shape(link: Link, subjects: Subjects) -> tuple[int, int]:
    """How many copies the log has and how many partitions its queues: the stream knows, whoever
    made it."""
    info = await link.api(f"STREAM.INFO.{subjects.log_stream}")
    config = info["config"]
    metadata = cast("dict[str, str]", config.get("metadata") or {})
    partitions = int(metadata.get(PARTITIONS_KEY) or DEFAULT_PARTITIONS)
    return int(config.get("num_replicas") or 1), partitions
