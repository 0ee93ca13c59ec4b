"""What a supervised process has of its supervisor: it dies with it, and leaves its stack behind.

The child is forked before anything runs that a fork would harm: no thread, no event loop, no
connection, none of the users' code.
"""

import ctypes
import faulthandler
import itertools
import os
import signal
import sys
import tempfile
import threading
from typing import Final

SHOW_STACK: Final = signal.SIGUSR2
"""Has the child write its Python stack, whatever it does: also while C code keeps the interpreter."""
_PR_SET_PDEATHSIG: Final = 1
_MOST: Final = 64 * 1_024
_OURS: Final = os.path.join("perdure", "core", "machine.py")


class Lifeline:
    """Made by the supervisor for each child: a pipe that ends with it, and a file for stacks."""

    def __init__(self) -> None:
        self._theirs, self._ours = os.pipe()
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115
        self._supervisor = os.getpid()

    def hold(self) -> None:
        """In the supervisor, after the fork."""
        os.close(self._theirs)

    def take(self) -> None:
        """In the child, first of all."""
        os.close(self._ours)
        if sys.platform == "linux":
            # At once, and also while the interpreter is kept from running the thread below.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._supervisor:
            os._exit(128 + signal.SIGKILL)
        threading.Thread(target=self._die_with_it, name="lifeline", daemon=True).start()
        faulthandler.enable(self._stacks.fileno(), all_threads=False)
        faulthandler.register(SHOW_STACK, self._stacks.fileno(), all_threads=False)

    def _die_with_it(self) -> None:
        os.read(self._theirs, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    def stack_size(self) -> int:
        return os.fstat(self._stacks.fileno()).st_size

    def stack(self) -> str:
        """Where the child was, innermost frame first."""
        return frames_of(os.pread(self._stacks.fileno(), _MOST, 0).decode(errors="replace"))

    def drop(self) -> None:
        """In the supervisor, once the child is gone."""
        os.close(self._ours)
        self._stacks.close()


def frames_of(dump: str) -> str:
    """The frames of a fault handler's dump, as far as they are not perdure's own way to the code."""
    frames = [line.strip() for line in dump.splitlines() if line.startswith(("  File ", "  ..."))]
    theirs = next((at for at, frame in enumerate(frames) if _OURS in frame), len(frames))
    return "\n".join(
        frame if (count := len(list(same))) == 1 else f"{frame} ({count} times)"
        for frame, same in itertools.groupby(frames[:theirs] or frames)
    )
