"""Where these scripts find their server."""

import os

from perdure.client import Client


async def connect() -> Client:
    return await Client.connect(
        os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
        namespace=os.environ.get("PERDURE_NAMESPACE", "default"),
    )
