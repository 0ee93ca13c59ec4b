"""Message identities for the stream's duplicate window."""

from hashlib import blake2b


def message_id(subject: str, word: str) -> str:
    """A short identity of ``word`` on ``subject``: the stream's window knows only one name space,
    and the server keeps every identity in memory for two minutes."""
    return blake2b(f"{subject} {word}".encode(), digest_size=12).hexdigest()
