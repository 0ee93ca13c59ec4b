"""STATE on a KV bucket, by publishes of our own: the client library's KV knows no TTL on update
and takes an expired entry for one that is there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from perdure.adapters.jetstream import headers
from perdure.adapters.jetstream.errors import err_code_of
from perdure.adapters.jetstream.headers import EXPECTED_LAST, TTL, is_tombstone, ttl_text
from perdure.adapters.jetstream.link import Link, Message, RawMessage
from perdure.adapters.jetstream.listening import Notices
from perdure.adapters.jetstream.paging import each
from perdure.adapters.jetstream.subjects import Subjects
from perdure.adapters.jetstream.wire import encode_headers
from perdure.ports.errors import AlreadyExists, Conflict, UnknownOutcome
from perdure.ports.log import Subscription

_RACES: Final = 20
_PAUSE: Final = 0.01
_IN_FLIGHT: Final = frozenset((10163, 10164))
"""What a replicated stream says while another write to the subject is on its way: ours was not
taken, and the leader soon knows whose was."""


class JetStreamState:
    """One message per workflow id; its stream sequence is the revision."""

    def __init__(self, link: Link, subjects: Subjects, *, replicas: int = 1) -> None:
        self._link = link
        self._subjects = subjects
        self._replicated = replicas > 1

    async def create(self, workflow_id: str, data: bytes) -> int:
        subject = self._subjects.state_key(workflow_id)
        after = 0
        for _ in range(_RACES):
            try:
                return (await self._link.publish(subject, data, headers.after(after))).seq
            except Conflict as error:
                refusal = error
            except UnknownOutcome as error:
                if err_code_of(error) not in _IN_FLIGHT:
                    raise
                refusal = error
                await asyncio.sleep(_PAUSE)
            last = await self._last(subject)
            if last is not None and not is_tombstone(last.head):
                raise AlreadyExists(
                    f"STATE has an entry for {workflow_id!r} (revision {last.seq})"
                ) from refusal
            # It vanished meanwhile, or a tool left a tombstone: either counts as nothing.
            after = 0 if last is None else last.seq
        raise UnknownOutcome(f"STATE of {workflow_id!r} changed {_RACES} times during one create")

    async def read(self, workflow_id: str) -> tuple[bytes, int] | None:
        subject = self._subjects.state_key(workflow_id)
        last = await self._last(subject)
        if last is None or is_tombstone(last.head):
            return None
        return last.data, last.seq

    async def _last(self, subject: str) -> RawMessage | None:
        """Never older than what was acknowledged: from the leader where there are replicas."""
        stream = self._subjects.state_stream
        return await self._link.last_message(stream, subject, leader=self._replicated)

    async def update(self, workflow_id: str, data: bytes, *, revision: int, ttl: int = 0) -> int:
        if revision <= 0:
            # To the server 0 means "no message": that would be a create.
            raise Conflict(f"STATE of {workflow_id!r} has no revision {revision}")
        head = headers.after(revision)
        if ttl > 0:
            head = encode_headers({EXPECTED_LAST: str(revision), TTL: ttl_text(ttl)})
        subject = self._subjects.state_key(workflow_id)
        return (await self._link.publish(subject, data, head)).seq

    async def watch(self, workflow_id: str, on_change: Callable[[bytes], None]) -> Subscription:
        def forward(message: Message) -> None:
            if not is_tombstone(message.head):
                on_change(message.data)

        return Notices(self._link, self._subjects.state_notice(workflow_id), forward)

    async def scan(self) -> AsyncIterator[tuple[bytes, int]]:
        """An entry that changes during the scan may come twice, the second time with its newer
        revision; none is left out."""
        everything = f"$KV.{self._subjects.state_bucket}.>"
        async for message in each(self._link, self._subjects.state_stream, everything):
            if not is_tombstone(message.head):
                yield message.data, message.seq
