"""Runs a command that dies with its parent: ``python leash.py USER COMMAND …``.

USER is the id of the user to become, or ``-`` to stay. It replaces itself by the command, so that the
process id stays the same.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, user, command = os.getppid(), sys.argv[1], sys.argv[2:]
    if user != "-":
        # Before the leash is put on: a change of user takes it off.
        os.setgroups([])
        os.setuid(int(user))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent was gone before the leash was on")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
