"""Runs a command that dies with its parent: nothing that a test starts outlives the test.

``python leash.py COMMAND …`` replaces itself by the command, so the process id stays the same.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent was gone before the leash was on")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
