"""The kinds of port calls: they decide which faults can meet a call at all."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """READ changes nothing, WRITE does, STORE is a write that takes room; OPENING begins or ends a
    subscription. DELIVERY (at least once) and HINT (at most once) come from the store, a WORD
    (ack, extend, nak) goes to it and is not waited for."""

    READ = "read"
    WRITE = "write"
    STORE = "store"
    OPENING = "opening"
    DELIVERY = "delivery"
    HINT = "hint"
    WORD = "word"


STORES: Final = frozenset(
    {
        "log.append", "log.commit",
        "tasks.offer", "tasks.replace",
        "heartbeats.beat",
        "timers.arm", "timers.fire", "timers.rearm",
        "state.create", "state.update",
        "blobs.put",
        "archive.put",
        "announcements.announce",
        "dead_letters.put",
        "members.beat",
    }
)  # fmt: skip
"""Writes that a full store refuses."""

WRITES: Final = STORES | {
    "log.purge", "tasks.remove", "timers.cancel", "blobs.delete", "dead_letters.remove",
    "replies.reply", "messages.tell", "members.leave",
}  # fmt: skip
"""Calls that change something: they can have happened although the caller was told otherwise."""

DELIVERIES: Final = frozenset({"inbox.delivery", "tasks.delivery", "ingress.delivery"})
"""Callbacks of subscriptions that offer at least once."""

HINTS: Final = frozenset({"messages.word", "messages.question", "state.change"})
"""What is said at most once."""

CALLBACKS: Final = DELIVERIES | HINTS
"""What comes from the store: nobody answers it."""

WORDS: Final = frozenset(
    f"{port}.{word}" for port in ("inbox", "tasks", "ingress") for word in ("ack", "extend", "nak")
)
"""What a holder says of a delivery."""

OPENINGS: Final = frozenset(
    {
        "inbox.open",
        "tasks.open",
        "ingress.open",
        "messages.answer",
        "messages.listen",
        "state.watch",
    }
) | {f"{port}.close" for port in ("inbox", "tasks", "ingress", "messages", "state")}
"""Beginnings and ends of subscriptions."""

_SETS: Final = (
    (STORES, Kind.STORE),
    (WRITES, Kind.WRITE),
    (OPENINGS, Kind.OPENING),
    (DELIVERIES, Kind.DELIVERY),
    (HINTS, Kind.HINT),
    (WORDS, Kind.WORD),
)


def kind_of(call: str) -> Kind:
    """The kind of a call by its name, e.g. ``log.commit``."""
    return next((kind for names, kind in _SETS if call in names), Kind.READ)
