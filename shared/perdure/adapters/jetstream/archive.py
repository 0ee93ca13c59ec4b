"""Histories of closed runs: one message each, or parts of one, gone after the retention time.

Parts lie below their head: ``….<id>.<run>`` and ``….<id>.<run>.<digest>-<size>.<i>``.
"""

import re
from typing import Final

from perdure.adapters.jetstream.chunks import ChunkedStream
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.paging import each
from perdure.adapters.jetstream.subjects import Subjects

_MAX_INLINE: Final = 8 * 1024 * 1024
_PART: Final = 512 * 1024
_ORDERED_RUN: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class JetStreamArchive:
    """The stream takes one message per subject and drops the second: the first one stays."""

    def __init__(self, link: Link, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects
        stream = subjects.archive_stream
        self._content = ChunkedStream(link, stream, inline=_MAX_INLINE, part=_PART)

    async def put(self, workflow_id: str, run: str, data: bytes) -> None:
        subject = self._subjects.archive(workflow_id, run)
        await self._content.put(subject, subject, data)

    async def get(self, workflow_id: str, run: str) -> bytes | None:
        subject = self._subjects.archive(workflow_id, run)
        return await self._content.get(subject, subject)

    async def runs(self, workflow_id: str) -> list[str]:
        wildcard = self._subjects.archived_runs(workflow_id)
        stream = self._subjects.archive_stream
        info = await self._link.api(f"STREAM.INFO.{stream}", {"subjects_filter": wildcard})
        names: dict[str, int] = info["state"].get("subjects") or {}
        runs = [self._subjects.parse_archive(name)[1] for name in names]
        if all(_ORDERED_RUN.fullmatch(run) for run in runs):
            # Run ids that begin with their time need no look at what may be megabytes each.
            return sorted(runs)
        return [
            self._subjects.parse_archive(message.subject)[1]
            async for message in each(self._link, stream, wildcard)
        ]
