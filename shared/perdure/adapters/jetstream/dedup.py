"""Message identities for the stream's duplicate window."""

from hashlib import blake2b


def message_id(subject: str, word: str) -> str:
    """A short identity of ``word`` on ``subject``: the stream's window knows only one name space,
    and the server keeps every identity in memory for two minutes."""
    return blake2b(f"{subject} {word}".encode(), digest_size=12).hexdigest()


def identified(subject: str, word: str, *, also: bytes = b"") -> bytes:
    """The header block of a message that the stream takes once in its window; ``also`` are further
    lines of it."""
    return b"NATS/1.0\r\nNats-Msg-Id: %b\r\n%b\r\n" % (message_id(subject, word).encode(), also)
