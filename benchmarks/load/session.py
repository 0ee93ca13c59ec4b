"""What every job of perdure's has: a client, and a plain NATS connection."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nats
from nats.aio.client import Client as Nats

from load.measuring import Task
from perdure.client import Client

NAMESPACE: Final = "default"
_PENDING: Final = 16 * 1024 * 1024


@dataclass(kw_only=True)
class Session(Task):
    """One job's connections and order."""

    client: Client
    nats: Nats
    store: Path


@asynccontextmanager
async def session(order: Mapping[str, Any]) -> AsyncGenerator[Session]:
    """The connections for an order, closed at the end."""
    plain = await nats.connect(order["url"], pending_size=_PENDING)
    try:
        async with await Client.connect(order["url"], namespace=NAMESPACE) as client:
            yield Session(
                client=client,
                nats=plain,
                store=Path(order["store"]),
                groups={**order["groups"], "client": [os.getpid()]},
                parameters=order["parameters"],
                prefix=order["prefix"],
            )
    finally:
        await plain.close()
