"""A program that knows NATS and nothing of perdure: it publishes until the receipt is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import nats
from nats.aio.client import Client as Connection
from nats.errors import Error as NatsError

_PATIENCE: Final = 120.0


class Publisher:
    """Speaks to the durable subjects of the default namespace, whoever dies meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def publish(
        self, subject: str, body: Any, *, key: str, headers: dict[str, str] | None = None
    ) -> None:
        """Publish; again under the same ``key`` until JetStream's receipt is there."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    await self._connection.jetstream().publish(
                        f"perdure.default.{subject}",
                        json.dumps(body).encode(),
                        timeout=2,
                        headers={"Nats-Msg-Id": key, **(headers or {})},
                    )
                    return
                except (NatsError, OSError):
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def publisher(url: str) -> AsyncGenerator[Publisher]:
    connection = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    try:
        yield Publisher(connection)
    finally:
        await connection.close()
