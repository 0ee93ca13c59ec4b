"""Who is alive: entries that vanish by themselves unless they are written again."""

from typing import Final

from perdure.adapters.jetstream.headers import KV_OPERATION, TTL, is_tombstone, ttl_text
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.paging import each
from perdure.adapters.jetstream.subjects import Subjects
from perdure.core.ids import decode_token, encode_token

_FAREWELL: Final = {KV_OPERATION: "DEL", TTL: "1s"}


class JetStreamMembers:
    """One key per member: the group's tokens, then the member's. The server counts the TTL."""

    def __init__(self, link: Link, subjects: Subjects) -> None:
        self._link = link
        self._subjects = subjects

    async def beat(self, group: tuple[str, ...], member: str, data: bytes, *, ttl: int) -> None:
        key = self._subjects.member_key(group, member)
        await self._link.publish(key, data, {TTL: ttl_text(ttl)}, idempotent=True)

    async def leave(self, group: tuple[str, ...], member: str) -> None:
        key = self._subjects.member_key(group, member)
        await self._link.publish(key, b"", _FAREWELL, idempotent=True)

    async def list(self, group: tuple[str, ...]) -> dict[str, bytes]:
        prefix = f"$KV.{self._subjects.members_bucket}." + "".join(
            f"{encode_token(token)}." for token in group
        )
        wildcard = ">" if len(group) == 1 else "*"
        alive: dict[str, bytes] = {}
        stream = self._subjects.members_stream
        async for message in each(self._link, stream, prefix + wildcard):
            tokens = message.subject[len(prefix) :].split(".")
            name = "/".join(map(decode_token, tokens))
            if is_tombstone(message.head):
                alive.pop(name, None)
            else:
                alive[name] = message.data
        return alive
