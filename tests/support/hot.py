"""What tests of the hot half of the JetStream adapter share."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from perdure.adapters.jetstream.link import ConnectOptions, Link
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Stored


async def create_hot_streams(link: Link, subjects: Subjects, *, replicas: int = 1) -> None:
    """LOG and TASKS, as the topology makes them."""
    log = {
        "subjects": subjects.log_subjects,
        "allow_atomic": True,
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
    }
    tasks = {
        "subjects": subjects.tasks_subjects,
        "retention": "workqueue",
        "max_msgs_per_subject": 1,
    }
    for name, config in ((subjects.log_stream, log), (subjects.tasks_stream, tasks)):
        body = {"name": name, "storage": "file", "allow_direct": True, "num_replicas": replicas}
        await link.api(f"STREAM.CREATE.{name}", {**body, **config}, timeout=2)


@asynccontextmanager
async def linked(url: str | list[str], **options: Any) -> AsyncGenerator[Link]:
    servers = [url] if isinstance(url, str) else url
    link = await Link.connect(ConnectOptions(servers=servers, reconnect_wait=0.05, **options))
    try:
        yield link
    finally:
        await link.close()


class Collector:
    """Keeps deliveries and lets a test wait for what it expects."""

    def __init__(self, *, ack: bool = False) -> None:
        self.got: list[Any] = []
        self._ack = ack
        self._changed = asyncio.Event()

    def __call__(self, delivery: Any) -> None:
        self.got.append(delivery)
        if self._ack:
            delivery.ack()
        self._changed.set()

    @property
    def bodies(self) -> list[bytes]:
        return [one.message.data for one in self.got]

    @property
    def messages(self) -> list[Stored]:
        return [one.message for one in self.got]

    async def until(self, enough: Callable[[], bool], *, within: float = 30.0) -> None:
        async with asyncio.timeout(within):
            while not enough():
                self._changed.clear()
                await self._changed.wait()

    async def count(self, number: int, *, within: float = 30.0) -> list[Any]:
        await self.until(lambda: len(self.got) >= number, within=within)
        return self.got


async def eventually(
    true: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within: float = 30.0
) -> None:
    """For what has no event to wait for: looks often, until it is so."""
    async with asyncio.timeout(within):
        while True:
            answer = true()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)
