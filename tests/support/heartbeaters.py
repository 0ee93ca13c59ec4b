"""Activities that heartbeat without measure."""

import asyncio
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.common import RetryPolicy

_LONG = timedelta(minutes=4)


class Fell(Exception):
    """The first attempt ends like this."""


def _first_or(seen: Any) -> Any:
    """What the attempt before said last, once there was one."""
    if activity.info().attempt == 1:
        raise Fell(f"after {seen}")
    return activity.info().heartbeat_details[0]


@activity.defn
async def flood(beats: int) -> Any:
    """So many heartbeats without a pause; the next attempt returns what it found."""
    if activity.info().attempt == 1:
        for number in range(1, beats + 1):
            activity.heartbeat(number)
            if number % 1_000 == 0:
                await asyncio.sleep(0)
    return _first_or(beats)


@activity.defn
def flood_in_a_thread(beats: int) -> Any:
    if activity.info().attempt == 1:
        for number in range(1, beats + 1):
            activity.heartbeat(number)
    return _first_or(beats)


@activity.defn
def flood_until(folder: str) -> int:
    """Heartbeats without a pause until a file appears; how often."""
    number = 0
    while not (Path(folder) / "enough").exists():
        for _ in range(1_000):
            number += 1
            activity.heartbeat(number)
    return number


_begun, _blocked, _flooded = threading.Event(), threading.Event(), threading.Event()


@activity.defn
async def block_the_loop(_: int) -> int:
    """Holds the event loop up until the flood is over; how much then waits for the loop."""
    while not _begun.is_set():
        await asyncio.sleep(0.01)
    _blocked.set()
    _flooded.wait(30)
    ready: Any = asyncio.get_running_loop()
    return len(ready._ready)


@activity.defn
def flood_at_once(beats: int) -> Any:
    """As :func:`flood_in_a_thread`, while nobody else can do anything."""
    if activity.info().attempt == 1:
        _begun.set()
        _blocked.wait(30)
        for number in range(1, beats + 1):
            activity.heartbeat(number)
        _flooded.set()
    return _first_or(beats)


@activity.defn
async def breathe(seconds: float) -> int:
    """Sends signs of life ten times a second."""
    ends = time.monotonic() + seconds
    beats = 0
    while time.monotonic() < ends:
        beats += 1
        activity.heartbeat(beats)
        await asyncio.sleep(0.1)
    return activity.info().attempt


@activity.defn
async def hello(name: str) -> str:
    return f"hello {name}"


@workflow.defn
class Beating:
    """One activity by name, two attempts at most."""

    @workflow.run
    async def run(self, kind: str, argument: Any, heartbeat: float) -> Any:
        return await workflow.execute_activity(
            kind,
            argument,
            start_to_close_timeout=_LONG,
            heartbeat_timeout=timedelta(seconds=heartbeat) if heartbeat else None,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=10), maximum_attempts=2
            ),
        )
