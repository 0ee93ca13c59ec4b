"""What the machine is, in words that tell nothing about whose it is."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from perdure.adapters.jetstream.embedded import find_server

_GIGABYTE = 1_000_000_000


def describe() -> dict[str, str]:
    """Cores, memory, and the versions of what the figures depend on."""
    server = subprocess.run(
        [str(find_server()), "--version"], capture_output=True, text=True, check=True
    )
    loop = f"uvloop {version('uvloop')}" if importlib.util.find_spec("uvloop") else "asyncio"
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{_memory() / _GIGABYTE:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "nats-server": server.stdout.rpartition(" v")[2].strip(),
        "nats-py": version("nats-py"),
        "event loop": loop,
    }


def _memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
