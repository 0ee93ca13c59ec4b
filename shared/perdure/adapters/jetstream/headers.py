"""The headers of JetStream and KV that the stores write and look for."""

from typing import Final

EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
MSG_ID: Final = "Nats-Msg-Id"
TTL: Final = "Nats-TTL"
KV_OPERATION: Final = "KV-Operation"

_TOMBSTONES: Final = (
    b"\r\nKV-Operation: DEL",
    b"\r\nKV-Operation: PURGE",
    b"\r\nNats-Marker-Reason: ",
)
_SECOND: Final = 1_000_000_000


def ttl_text(nanoseconds: int) -> str:
    """A lifetime as the server takes it: whole seconds, never less than asked and never none."""
    return f"{max(1, -(-nanoseconds // _SECOND))}s"


def is_tombstone(head: bytes) -> bool:
    """Whether a message only says that its key is gone: deleted, or expired with a marker."""
    return any(mark in head for mark in _TOMBSTONES)
