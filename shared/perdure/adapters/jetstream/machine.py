"""What the embedded server needs of the machine: ports, a greeting, an orderly end."""

import asyncio
import socket
import subprocess
from typing import Final

HOST: Final = "127.0.0.1"
_ANY_PORT: Final = -1


def free_or_any(port: int) -> int:
    """``port`` when nobody has it, else the word for any free one."""
    if port <= 0:
        return _ANY_PORT
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return _ANY_PORT
    return port


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].rstrip("/"))


async def answers(url: str) -> bool:
    """Whether the server greets us: it does so only once JetStream has recovered its streams."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(HOST, port_of(url))
            try:
                return (await reader.readline()).startswith(b"INFO ")
            finally:
                writer.close()
    except OSError:
        return False


async def end(process: subprocess.Popen[bytes], timeout: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
    await asyncio.to_thread(process.wait)
