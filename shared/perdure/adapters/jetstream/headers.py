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


def after(sequence: int) -> bytes:
    """A header block: the newest message of the subject must be this one, or 0 for none."""
    return b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %d\r\n\r\n" % sequence


def ttl_text(nanoseconds: int) -> str:
    """A lifetime as the server takes it: whole seconds, never less than asked and never none."""
    return f"{max(1, -(-nanoseconds // _SECOND))}s"


def is_tombstone(head: bytes) -> bool:
    """Whether a message only says that its key is gone: deleted, or expired with a marker."""
    return any(mark in head for mark in _TOMBSTONES)
