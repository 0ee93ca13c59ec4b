"""Time as the log counts it."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> int:
        """Nanoseconds of stream time: the newest stream timestamp seen plus the monotonic time since.
        Never ahead of the server's clock, so nothing that waits for it is early."""
        ...

    def observe(self, timestamp: int) -> None:
        """A stream timestamp was seen."""
        ...
