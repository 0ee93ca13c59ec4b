"""A watchdog for workflow code in a program of one's own: a thread that says where a turn hangs.

It shares the interpreter with what it watches, so it sees code that loops or sleeps, and is silent
while C code keeps the interpreter. It cannot replace the process; it can end it, for whoever starts
programs again (``perdure scheduler`` has a supervisor that does both).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final

_LOOK: Final = 0.1
_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h."""

# Without a public name, and documented nevertheless.
_current_frames: Callable[[], dict[int, FrameType]] = vars(sys)["_current_frames"]

_logger = logging.getLogger("perdure.worker")


class Watchdog:
    """The engine's TurnWatch of one worker. ``limit`` is in seconds; ``ends_process``: a turn that
    takes longer ends the program with exit code 70, as a crash would."""

    def __init__(self, limit: float, *, ends_process: bool = False) -> None:
        self._limit = limit
        self._ends_process = ends_process
        self._turn: tuple[float, str, str, int] | None = None
        self._told: tuple[float, str, str, int] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # TurnWatch, in the loop's thread

    def begun(self, workflow_id: str, run: str) -> None:
        self._turn = (time.monotonic(), workflow_id, run, threading.get_ident())

    def ended(self) -> None:
        self._turn = None

    # for everybody

    @property
    def trouble(self) -> str:
        """Which workflow's turn takes too long now, or nothing."""
        turn = self._turn
        if turn is None:
            return ""
        had = time.monotonic() - turn[0]
        if had < self._limit:
            return ""
        return f"a turn of workflow {turn[1]!r} has run for {had:.1f} s"

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK):
            turn, trouble = self._turn, self.trouble
            if turn is None or not trouble or turn is self._told:
                continue
            self._told = turn
            _logger.error("%s:\n%s", trouble, _stack_of(turn[3]))
            if self._ends_process:
                logging.shutdown()
                os._exit(_EXIT)


def _stack_of(thread: int) -> str:
    """Where the code of a thread is, innermost last."""
    frame = _current_frames().get(thread)
    return "(no stack)" if frame is None else "".join(traceback.format_stack(frame))
