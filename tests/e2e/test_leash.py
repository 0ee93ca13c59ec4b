"""What a test starts does not outlive the test's process, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from support.deployments import LEASH
from support.polling import until

pytestmark = pytest.mark.e2e

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-ISs", sys.argv[1], "sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


def _is_there(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_a_process_dies_with_the_test_that_started_it() -> None:
    command = [sys.executable, "-c", _PARENT, str(LEASH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())

        def became_it() -> bool:
            with open(f"/proc/{pid}/comm") as comm:
                return comm.read().strip() == "sleep"

        asyncio.run(until(became_it, "the process behind the leash"))
        os.kill(parent.pid, signal.SIGKILL)
    asyncio.run(until(lambda: not _is_there(pid), "the end of the process on the leash"))
