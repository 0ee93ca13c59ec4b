"""What leaves the engine: announcements, dead letters, and answers to whoever asked for one."""

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

from perdure.adapters.jetstream.dedup import identified
from perdure.adapters.jetstream.errors import NO_SUCH_SEQUENCE, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.paging import each
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Stored
from perdure.ports.errors import PortError


class ReplyRefused(PortError):
    """A request names a subject for its answer that nobody may be answered on."""


class JetStreamAnnouncements:
    """The EVENTS stream."""

    def __init__(self, link: Link, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects

    def announce(
        self, workflow_type: str, workflow_id: str, data: bytes, *, dedup: str
    ) -> Coroutine[Any, Any, None]:
        subject = self._subjects.event(workflow_type, workflow_id)
        return self._link.post(subject, data, identified(subject, dedup))


class JetStreamDeadLetters:
    """The DLQ stream."""

    def __init__(self, link: Link, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects

    async def put(self, kind: str, workflow_id: str, data: bytes, *, dedup: str) -> None:
        subject = self._subjects.dead_letter(kind, workflow_id)
        await self._link.publish(subject, data, identified(subject, dedup), idempotent=True)

    async def scan(self, after: int = 0) -> AsyncIterator[Stored]:
        stream = self._subjects.dead_letters_stream
        everything = self._subjects.dead_letters_subjects[0]
        async for message in each(self._link, stream, everything, after=after):
            yield Stored(message.seq, message.timestamp, message.data)

    async def remove(self, seq: int) -> None:
        stream = self._subjects.dead_letters_stream
        try:
            await self._link.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
        except PortError as error:
            if err_code_of(error) not in NO_SUCH_SEQUENCE:
                raise


class JetStreamReplies:
    """Answers by core NATS, to inboxes and the prefixes that an operator named: a request may not
    have the engine write to any other subject."""

    def __init__(self, link: Link, *, prefixes: Sequence[str] = ()) -> None:
        self._link = link
        self._prefixes = ("_INBOX.", *(f"{prefix.rstrip('.>')}." for prefix in prefixes))

    async def reply(self, to: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if not self._allowed(to):
            named = ", ".join(f"{prefix}>" for prefix in self._prefixes)
            raise ReplyRefused(f"no answer goes to {to!r}: only {named} may be answered on")
        self._link.send(to, data, headers)

    def _allowed(self, subject: str) -> bool:
        if not subject.isascii() or not subject.isprintable() or len(subject) > 1_024:
            return False
        if not subject.startswith(self._prefixes):
            return False
        return not any(
            token == "" or "*" in token or ">" in token or " " in token
            for token in subject.split(".")
        )
