"""Large payloads, beside the log."""

from typing import Protocol


class BlobStore(Protocol):
    """Keys are slash-separated text: ``<id token>/<run>/<n>``. A key's content never changes."""

    async def put(self, key: str, data: bytes) -> None:
        """Store; idempotent for the same content. Raises TooLarge above the store's limit."""
        ...

    async def get(self, key: str) -> bytes | None: ...

    async def delete(self, prefix: str) -> None:
        """Delete every blob whose key begins with ``prefix``. Idempotent."""
        ...
