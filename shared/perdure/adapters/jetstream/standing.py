"""Whether the server at the other end still has a part in its cluster. Pure.

A server that is cut off from the others goes on answering pings, and reads from what it has; only
writes tell. Its clients would stay with it for as long as the cut lasts.
"""

from typing import Final

_FIRST: Final = 2
_LONGEST: Final = 16


class Standing:
    """Looks in at regular intervals. Where writes go unanswered through several of them and none gets
    a receipt, it is time to leave; if that doesn't help, more and more rarely."""

    def __init__(self) -> None:
        self._acknowledged = 0
        self._in_vain = 0
        self._patience = _FIRST
        self._left = _FIRST

    def is_lost(self, acknowledged: int, in_vain: int) -> bool:
        """Told the counts so far: whether to leave now."""
        has_receipts = acknowledged > self._acknowledged
        has_failures = in_vain > self._in_vain
        self._acknowledged, self._in_vain = acknowledged, in_vain
        if has_receipts:
            self._patience = self._left = _FIRST
        if has_receipts or not has_failures:
            return False
        self._left -= 1
        if self._left:
            return False
        self._patience = min(self._patience * 2, _LONGEST)
        self._left = self._patience
        return True
