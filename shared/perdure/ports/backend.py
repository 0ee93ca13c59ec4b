"""All ports of one namespace together, as a composition root hands them to the engine."""

from dataclasses import dataclass

from perdure.ports.archive import Archive
from perdure.ports.blobs import BlobStore
from perdure.ports.capacity import Capacity
from perdure.ports.clock import Clock
from perdure.ports.ingress import Ingress
from perdure.ports.log import EventLog, Inbox
from perdure.ports.members import Members
from perdure.ports.messages import Messages
from perdure.ports.outlets import Announcements, DeadLetters, Replies
from perdure.ports.state import StateStore
from perdure.ports.tasks import Heartbeats, TaskQueue
from perdure.ports.timers import Timers


@dataclass(frozen=True, kw_only=True)
class Backend:
    """``max_message`` is the largest record, event or task in bytes; larger payloads go to blobs."""

    namespace: str
    log: EventLog
    inbox: Inbox
    tasks: TaskQueue
    heartbeats: Heartbeats
    timers: Timers
    state: StateStore
    blobs: BlobStore
    archive: Archive
    announcements: Announcements
    dead_letters: DeadLetters
    replies: Replies
    ingress: Ingress
    messages: Messages
    members: Members
    clock: Clock
    capacity: Capacity
    max_message: int = 900_000
    lease: int = 10_000_000_000
    """How long a delivery may go without a word before it is offered again."""
    unsure: int = 0
    """For how long a read may miss what was written: nobody has told a leader that is cut off from
    its replicas. What is decided without a write must not rest on anything younger."""
    partitions: int = 4
    store_threshold: float = 0.85
    """The part of the store beyond which nothing new is begun."""
