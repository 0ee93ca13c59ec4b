"""An activity's progress on its way to the store, where it outlives the worker.

Beats are throttled to 0.8 of the heartbeat timeout (30 s when there is none); the newest details
always follow. A beat names the task's message, so that a worker which gets the message again knows
whether somebody had begun with it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from perdure.core.durations import SECOND
from perdure.core.errors import SerializationError
from perdure.core.payloads import Payload
from perdure.core.tasks import ActivityTask
from perdure.engine.payloads import PayloadStore, blob_prefix
from perdure.ports.addresses import TaskKey
from perdure.ports.errors import PortError
from perdure.ports.tasks import Heartbeats

UNHURRIED: Final = 30 * SECOND
"""How often progress is written when nobody waits for a sign of life."""
_PART_OF_TIMEOUT: Final = 0.8
_logger = logging.getLogger("perdure.activities")


class Beat(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest progress of an activity; ``seq`` is the task message that its holder works on."""

    attempt: int
    seq: int
    at: int = 0
    details: list[Payload] = []
    worker: str = ""


_decoder = msgspec.json.Decoder(Beat)
_encoder = msgspec.json.Encoder()


def encode_beat(beat: Beat) -> bytes:
    return _encoder.encode(beat)


def decode_beat(data: bytes) -> Beat | None:
    """None for what is no beat: progress is a help, never a reason to stop."""
    with contextlib.suppress(msgspec.DecodeError):
        return _decoder.decode(data)
    return None


async def last_beat(heartbeats: Heartbeats, key: TaskKey, seq: int) -> Beat | None:
    """The newest beat of whoever worked on message ``seq``."""
    data = await heartbeats.last(key)
    beat = decode_beat(data) if data is not None else None
    return beat if beat is not None and beat.seq == seq else None


class HeartbeatWriter:
    """Writes one attempt's beats. Its methods belong to the loop's thread."""

    def __init__(
        self,
        heartbeats: Heartbeats,
        payloads: PayloadStore,
        task: ActivityTask,
        *,
        key: TaskKey,
        seq: int,
        worker: str,
        now: Callable[[], int],
        slowest: int = UNHURRIED,
    ) -> None:
        self._heartbeats = heartbeats
        self._payloads = payloads
        self._task = task
        self._key = key
        self._seq = seq
        self._worker = worker
        self._now = now
        every = min(int(task.heartbeat * _PART_OF_TIMEOUT), slowest) if task.heartbeat else slowest
        self._every = every / SECOND
        self._pending: list[Payload] | None = None
        self._writer: asyncio.Task[None] | None = None
        self.details = list(task.heartbeat_details)

    def beat(self, details: list[Payload]) -> None:
        """Note progress; it is written now or when the throttle allows."""
        self.details = details
        self._pending = details
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_on())

    async def mark(self) -> None:
        """Write that this worker begins with the message."""
        await self._write(self.details)

    async def close(self) -> None:
        """Stop writing: what is newest goes with the attempt's outcome."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})
            self._writer = None

    async def _write_on(self) -> None:
        while self._pending is not None:
            details, self._pending = self._pending, None
            try:
                await self._write(details)
            except (PortError, SerializationError) as error:
                _logger.warning("could not write a heartbeat of %s: %s", self._key, error)
                if self._pending is None:
                    self._pending = details
            await asyncio.sleep(self._every)
        self._writer = None

    async def _write(self, details: list[Payload]) -> None:
        task = self._task
        what = blob_prefix(task.workflow_id, task.run, f"{task.n}-heartbeat")
        beat = Beat(
            attempt=task.attempt,
            seq=self._seq,
            at=self._now(),
            details=await self._payloads.offload(details, what),
            worker=self._worker,
        )
        await self._heartbeats.beat(self._key, encode_beat(beat))
