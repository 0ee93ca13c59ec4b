"""Stream time as one process knows it."""

from perdure.adapters.memory.server import Server


class MemoryClock:
    """The newest stream timestamp seen plus the loop's time since; it starts at the store's own."""

    def __init__(self, server: Server) -> None:
        self._time = server.time
        self._ahead = 0

    def now(self) -> int:
        return self._time.now() + self._ahead

    def observe(self, timestamp: int) -> None:
        # One loop, one time: only what another store stamped can be ahead.
        self._ahead = max(self._ahead, timestamp - self._time.now())
