"""Every durable write of a workflow, heard within milliseconds: the moments to kill somebody at.

What lies in LOG is heard from the stream itself, so once it is stored (fired timers, which no
client publishes, are there too). The writes to the other streams are heard as they are published.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

import nats
from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, DeliverPolicy

_LOG: Final = "perdure.default._wf.>"
_OTHERS: Final = (
    "perdure.default.start.>",
    "perdure.default.signal.>",
    "perdure.default._task.>",
    "perdure.default._timer.>",
    "perdure.default._state.>",
    "perdure.default._archive.>",
    "perdure.default.events.>",
)


class Moments:
    """The subjects written so far for ``ids``, and what is to be done at one of them."""

    def __init__(self, ids: Collection[str]) -> None:
        self.seen: list[str] = []
        self._ids = frozenset(ids)
        self._acts: dict[int, tuple[float, Callable[[], None]]] = {}

    def at(self, place: int, act: Callable[[], None], *, delay: float = 0.0) -> None:
        """Call ``act`` as soon as ``place`` writes were heard, and ``delay`` seconds later."""
        self._acts[place] = (delay, act)

    def over(self) -> None:
        """Nothing more comes: what is still to be done is due."""
        for place in list(self._acts):
            self._act(place)

    async def hear(self, message: Msg) -> None:
        if not self._ids.isdisjoint(message.subject.split(".")):
            self.seen.append(message.subject)
            if len(self.seen) in self._acts:
                self._act(len(self.seen))

    def _act(self, place: int) -> None:
        delay, act = self._acts.pop(place)
        if delay:
            asyncio.get_running_loop().call_later(delay, act)
        else:
            act()


@asynccontextmanager
async def listening(url: str, ids: Collection[str]) -> AsyncGenerator[Moments]:
    """Hear everything that is written for ``ids`` from now on."""
    moments = Moments(ids)
    ears = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    try:
        await ears.jetstream().subscribe(
            _LOG,
            stream="PERDURE_default_LOG",
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW),
            cb=moments.hear,
        )
        for subject in _OTHERS:
            await ears.subscribe(subject, cb=moments.hear)
        await ears.flush()
        yield moments
    finally:
        await ears.close()
