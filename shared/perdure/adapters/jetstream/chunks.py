"""Bytes of any size in a stream that keeps one message per subject.

Small content is one message, the head. Larger content is parts first, then a head without a body
that counts them: whoever finds a head finds all. Parts are named by the content's digest and their
size, so writers of different content can't mix. Every read is checked against the head's SHA-256.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from perdure.adapters.jetstream.link import Link, RawMessage
from perdure.ports.errors import AlreadyExists, PortError

DIGEST: Final = "Perdure-Digest"
SIZE: Final = "Perdure-Size"
PARTS: Final = "Perdure-Parts"
PART_SIZE: Final = "Perdure-Part-Size"

_HEADROOM: Final = 64 * 1024
_IN_FLIGHT: Final = 8
_HASH_ON_LOOP: Final = 1024 * 1024


class CorruptContent(PortError):
    """What was read is not what was written."""


class ChunkedStream:
    """``inline`` and ``part`` are the most that a head and a part hold, in bytes."""

    def __init__(self, link: Link, stream: str, *, inline: int, part: int) -> None:
        self._link = link
        self._stream = stream
        self._inline = inline
        self._part = part

    async def put(self, head: str, parts: str, data: bytes) -> bool:
        """Whether ``data`` is what lies there now; False when other content was there first.

        Writing the same again is harmless; an interrupted write leaves parts without a head.
        """
        digest = await _digest(data)
        room = max(1, self._link.max_payload - _HEADROOM)
        headers = {DIGEST: digest, SIZE: str(len(data))}
        body = data
        if len(data) > min(self._inline, room):
            size = min(self._part, room)
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            headers |= {PARTS: str(len(pieces)), PART_SIZE: str(size)}
            names = _part_names(parts, digest, size, len(pieces))
            await self._put_parts(names, pieces)
            body = b""
        try:
            await self._link.publish(head, body, headers, idempotent=True, timeout=30)
        except AlreadyExists:
            there = await self._link.last_message(self._stream, head, leader=True)
            return there is not None and there.headers.get(DIGEST) == digest
        return True

    async def get(self, head: str, parts: str) -> bytes | None:
        found = await self._read(head)
        if found is None:
            return None
        headers = found.headers
        data = found.data
        if PARTS in headers:
            names = _part_names(
                parts, headers[DIGEST], int(headers[PART_SIZE]), int(headers[PARTS])
            )
            pieces = await _windowed([lambda name=name: self._read(name) for name in names])
            whole = [piece.data for piece in pieces if piece is not None]
            if len(whole) < len(pieces):
                # Being deleted, or expired: parts go a moment before or after their head.
                return None
            data = b"".join(whole)
        if headers.get(DIGEST) != await _digest(data):
            raise CorruptContent(
                f"{head} in {self._stream} does not match its digest: {len(data)} bytes read, "
                f"{headers.get(SIZE)} written. Restore the stream from a backup."
            )
        return data

    async def _put_parts(self, names: Sequence[str], pieces: Sequence[bytes]) -> None:
        async def put(name: str, piece: bytes) -> None:
            try:
                await self._link.publish(name, piece, idempotent=True, timeout=30)
            except AlreadyExists:
                # The digest in its name says that it is the same.
                return

        await _windowed(
            [
                lambda name=name, piece=piece: put(name, piece)
                for name, piece in zip(names, pieces, strict=True)
            ]
        )

    async def _read(self, subject: str) -> RawMessage | None:
        # Any replica will do, unless it lags behind and knows nothing yet.
        found = await self._link.last_message(self._stream, subject, leader=False)
        if found is None:
            found = await self._link.last_message(self._stream, subject, leader=True)
        return found


def _part_names(parts: str, digest: str, size: int, count: int) -> list[str]:
    return [f"{parts}.{digest[:16]}-{size}.{number}" for number in range(count)]


async def _digest(data: bytes) -> str:
    if len(data) <= _HASH_ON_LOOP:
        return hashlib.sha256(data).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()


async def _windowed[T](calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """All results in order, with a few calls in flight; the first failure ends the rest."""
    results: dict[int, T] = {}
    waiting = iter(range(len(calls)))

    async def work() -> None:
        for number in waiting:
            results[number] = await calls[number]()

    workers = [asyncio.ensure_future(work()) for _ in range(min(_IN_FLIGHT, len(calls)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[number] for number in range(len(calls))]
