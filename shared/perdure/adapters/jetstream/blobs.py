"""Large payloads in the bucket ``perdure_<ns>_blobs``.

Its stream is the object store's (``OBJ_…``), the layout our own, so that a key's blobs go with one
purge and small ones take one message:

    $O.<bucket>.C.head.<segments of the key>                        the blob, or how many parts
    $O.<bucket>.C.part.<segments of the key>.<digest>-<size>.<i>    one part

A segment is the key's text between slashes; bytes outside ``[A-Za-z0-9_=-]`` become ``~XX``.
"""

import re
from collections.abc import AsyncIterator
from typing import Any, Final

from perdure.adapters.jetstream.chunks import ChunkedStream
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.errors import Conflict, TooLarge

LARGEST: Final = 64 * 1024 * 1024

_PART: Final = 512 * 1024
_OTHER: Final = re.compile(rb"[^A-Za-z0-9_=-]")
_ESCAPED: Final = re.compile(r"~([0-9A-F]{2})")
_PART_TAIL: Final = 2


class JetStreamBlobs:
    def __init__(self, link: Link, subjects: Subjects) -> None:
        self._link = link
        self._stream = subjects.blobs_stream
        self._heads = f"$O.{subjects.blobs_store}.C.head."
        self._parts = f"$O.{subjects.blobs_store}.C.part."
        self._content = ChunkedStream(link, self._stream, inline=_PART, part=_PART)

    async def put(self, key: str, data: bytes) -> None:
        if len(data) > LARGEST:
            raise TooLarge(f"blob {key!r} has {len(data)} bytes, the limit is {LARGEST}")
        name = _subject(key)
        if not await self._content.put(self._heads + name, self._parts + name, data):
            raise Conflict(f"blob {key!r} exists with other content: a key's content never changes")

    async def get(self, key: str) -> bytes | None:
        name = _subject(key)
        return await self._content.get(self._heads + name, self._parts + name)

    async def delete(self, prefix: str) -> None:
        folder, slash, rest = prefix.rpartition("/")
        below = f"{_subject(folder)}." if slash else ""
        if not rest:
            await self._purge(f"{self._heads}{below}>")
            await self._purge(f"{self._parts}{below}>")
            return
        for name in sorted(
            {name async for name in self._names(below) if _key(name).startswith(prefix)}
        ):
            await self._purge(f"{self._heads}{name}")
            await self._purge(f"{self._parts}{name}.>")

    async def _names(self, below: str) -> AsyncIterator[str]:
        async for subject in self._subjects(f"{self._heads}{below}>"):
            yield subject.removeprefix(self._heads)
        async for subject in self._subjects(f"{self._parts}{below}>"):
            yield subject.removeprefix(self._parts).rsplit(".", _PART_TAIL)[0]

    async def _subjects(self, wildcard: str) -> AsyncIterator[str]:
        seen = 0
        while True:
            body: dict[str, Any] = {"subjects_filter": wildcard, "offset": seen}
            info = await self._link.api(f"STREAM.INFO.{self._stream}", body)
            page: dict[str, int] = info["state"].get("subjects") or {}
            for subject in page:
                yield subject
            seen += len(page)
            if not page or seen >= int(info.get("total") or 0):
                return

    async def _purge(self, wildcard: str) -> None:
        await self._link.api(f"STREAM.PURGE.{self._stream}", {"filter": wildcard})


def _subject(key: str) -> str:
    segments = key.split("/")
    if "" in segments:
        raise ValueError(f"a blob's key is segments between slashes, none empty: {key!r}")
    return ".".join(
        _OTHER.sub(lambda match: b"~%02X" % match[0][0], segment.encode()).decode()
        for segment in segments
    )


def _key(subject: str) -> str:
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), subject.replace(".", "/"))
    return raw.encode("latin-1").decode()
