"""Closed histories, kept for the retention time."""

from typing import Protocol


class Archive(Protocol):
    async def put(self, workflow_id: str, run: str, data: bytes) -> None:
        """Keep a closed run's history. Idempotent: the first one stays."""
        ...

    async def get(self, workflow_id: str, run: str) -> bytes | None: ...

    async def runs(self, workflow_id: str) -> list[str]:
        """The archived runs of an id, oldest first."""
        ...
