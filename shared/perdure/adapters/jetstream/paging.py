"""Reading a stream, or a filter of it, from one sequence on, page by page."""

from collections.abc import AsyncIterator
from typing import Final

from perdure.adapters.jetstream.link import Link, RawMessage

_PAGE: Final = 1_000
_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Batched reads have no flow control: a page must fit the connection's buffers."""


async def each(
    link: Link, stream: str, subjects: str, *, after: int = 0, page: int = _PAGE
) -> AsyncIterator[RawMessage]:
    """The messages of a wildcard with sequences above ``after``, oldest first."""
    while True:
        found = await link.batch_get(
            stream,
            {
                "seq": after + 1,
                "batch": page,
                "max_bytes": _PAGE_BYTES,
                "next_by_subj": subjects,
            },
        )
        if not found:
            return
        for message in found:
            yield message
        after = found[-1].seq
