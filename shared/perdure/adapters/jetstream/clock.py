"""Time as the stream counts it, from the timestamps that go by."""

import time
from typing import Final, Self

from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.reads import parse_time

_SLOWER: Final = 12
"""The local clock counts 1/4096 slower than it runs, so that no crystal makes it gain on the
server's: what is lost is regained with the next timestamp seen."""


class StreamClock:
    """The newest stream timestamp seen plus the monotonic time since."""

    def __init__(self, timestamp: int) -> None:
        self._newest = timestamp
        self._seen_at = time.monotonic_ns()

    @classmethod
    async def start(cls, link: Link, stream: str) -> Self:
        """A clock set by the server's own. Raises Unavailable, or Missing without the stream."""
        answer = await link.api(f"STREAM.INFO.{stream}")
        return cls(parse_time(answer["ts"]))

    def now(self) -> int:
        elapsed = time.monotonic_ns() - self._seen_at
        return self._newest + elapsed - (elapsed >> _SLOWER)

    def observe(self, timestamp: int) -> None:
        if timestamp <= self._newest:
            return
        monotonic = time.monotonic_ns()
        elapsed = monotonic - self._seen_at
        if timestamp > self._newest + elapsed - (elapsed >> _SLOWER):
            self._newest = timestamp
            self._seen_at = monotonic
