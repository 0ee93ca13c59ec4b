"""The raw floor: how fast a plain nats-py program stores messages on this server.

One process, ``publish_async`` (many messages on their way, acknowledged one by one), 100 bytes each,
into a file stream: what a user of the client library gets at best without an engine.
"""

from __future__ import annotations

import time
from statistics import median

from nats.js import JetStreamContext
from nats.js.api import StorageType, StreamConfig

from load.measuring import Outcome, Window
from load.session import Session

_STREAM = "FLOOR"
_SUBJECT = "floor.message"


async def floor(on: Session) -> Outcome:
    """``rounds`` of ``messages`` publishes after a small one to warm up: all rates, and the median."""
    messages, rounds = on.parameters["messages"], on.parameters["rounds"]
    stream = on.nats.jetstream(publish_async_max_pending=4_000)
    await stream.add_stream(
        StreamConfig(name=_STREAM, subjects=[_SUBJECT], storage=StorageType.FILE)
    )
    await _publish(stream, max(messages // 10, 1))
    meter, start = on.meter(), time.monotonic()
    rates: list[float] = []
    for done in range(rounds):
        rates.append(messages / await _publish(stream, messages))
        on.progress((done + 1) / rounds)
    window = Window.since(start, meter, messages * rounds)
    return window.outcome(rate=median(rates), rates=rates)


async def _publish(stream: JetStreamContext, count: int) -> float:
    """The seconds that ``count`` messages take until the last one is acknowledged."""
    payload, start = b"x" * 100, time.monotonic()
    for _ in range(count):
        await stream.publish_async(_SUBJECT, payload, wait_stall=60)
    await stream.publish_async_completed()
    return time.monotonic() - start
