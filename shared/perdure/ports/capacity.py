"""How much room the store has."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes taken, and bytes that there are; ``limit`` 0: nobody knows of a limit."""

    used: int
    limit: int = 0

    @property
    def part(self) -> float:
        """What is taken of the whole; 0 without a limit."""
        return self.used / self.limit if self.limit else 0.0


class Capacity(Protocol):
    async def usage(self) -> Usage:
        """What the namespace's account takes now, and may take. Too dear to be asked for every
        request."""
        ...
