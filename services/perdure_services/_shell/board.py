"""A page of memory that a process and its supervisor share: whose code runs now, and since when.

The process writes it around every activation, so it costs no more than two stores and a clock; the
supervisor reads it now and then. Only what has stood there for a while is acted upon, so neither
waits for the other.
"""

import mmap
import struct
from time import monotonic_ns
from typing import Final, NamedTuple

_TURN: Final = struct.Struct("=QH")
_RECORDED: Final = struct.Struct("=Q")
_RECORDED_AT: Final = 16
_TEXT_AT: Final = 24
_SIZE: Final = 4_096
_MOST: Final = _SIZE - _TEXT_AT


class Turn(NamedTuple):
    """An activation under way. ``begun`` is monotonic nanoseconds, and its identity."""

    begun: int
    workflow_id: str
    run: str


class TurnBoard:
    """Made before the fork; the child writes (it is the engine's TurnWatch), the parent reads."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _SIZE)

    def begun(self, workflow_id: str, run: str) -> None:
        text = f"{run}\n{workflow_id}".encode()[:_MOST]
        length = len(text)
        self._page[_TEXT_AT : _TEXT_AT + length] = text
        _TURN.pack_into(self._page, 0, monotonic_ns(), length)

    def ended(self) -> None:
        _TURN.pack_into(self._page, 0, 0, 0)

    def turn(self) -> Turn | None:
        """The activation under way."""
        begun, length = _TURN.unpack_from(self._page, 0)
        if not begun:
            return None
        text = self._page[_TEXT_AT : _TEXT_AT + length].decode(errors="replace")
        run, _, workflow_id = text.partition("\n")
        return Turn(begun, workflow_id, run)

    @property
    def recorded(self) -> int:
        """How many of the strikes that it was handed the child has made durable."""
        return _RECORDED.unpack_from(self._page, _RECORDED_AT)[0]

    @recorded.setter
    def recorded(self, count: int) -> None:
        _RECORDED.pack_into(self._page, _RECORDED_AT, count)

    def clear(self) -> None:
        """For the next child."""
        self._page[:] = bytes(_SIZE)
