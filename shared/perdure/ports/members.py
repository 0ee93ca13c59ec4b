"""Who is alive. Ownership by membership only saves work: safety never depends on it."""

from typing import Protocol


class Members(Protocol):
    """A member is gone when its beats stop for ``ttl`` or when it leaves."""

    async def beat(self, group: tuple[str, ...], member: str, data: bytes, *, ttl: int) -> None:
        """Say that ``member`` of ``group`` (e.g. ``("scheduler", "default")``) lives."""
        ...

    async def leave(self, group: tuple[str, ...], member: str) -> None: ...

    async def list(self, group: tuple[str, ...]) -> dict[str, bytes]:
        """The members alive, with what they said last. A group of one token lists all groups that
        begin with it, keyed ``<rest of group>/<member>``."""
        ...
