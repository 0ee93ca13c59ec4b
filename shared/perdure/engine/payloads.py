"""Large payloads lie beside the log: a blob each, and a reference in the payload's place.

A reference is ``{"$payload": {"encoding": "blob/ref", "metadata": {"key": …, "size": …}}}``. User
values can't forge one, since converters wrap every object that has the key ``$payload``; what
comes in as raw JSON from outside has to be escaped at the door. Restoring for an ``owner`` also
refuses a key of any other workflow.

Small payloads cost a length check on the way out and a prefix check on the way in.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from perdure.core.commands import Command
from perdure.core.errors import SerializationError
from perdure.core.events import Event
from perdure.core.ids import encode_token
from perdure.core.payloads import Payload, PayloadConverter
from perdure.engine.payload_slots import gather, scatter
from perdure.ports.blobs import BlobStore
from perdure.ports.errors import TooLarge

INLINE_LIMIT: Final = 128 * 1024
TOTAL_LIMIT: Final = 512 * 1024
MAX_PAYLOAD: Final = 64 * 1024 * 1024
_WORTHWHILE: Final = 1024
"""A smaller payload is never moved: its reference would be hardly smaller."""
_AT_ONCE: Final = 8
_LONGEST_REF: Final = 4096
_PREFIX: Final = b'{"$payload":{"encoding":"blob/ref"'
_MARK: Final = b'"blob/ref"'


class _Where(msgspec.Struct, frozen=True):
    key: str
    size: int


class _Ref(msgspec.Struct, frozen=True):
    encoding: str
    metadata: _Where


class _Envelope(msgspec.Struct, frozen=True):
    payload: _Ref = msgspec.field(name="$payload")


_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


def blob_prefix(workflow_id: str, run: str, what: str) -> str:
    """The beginning of the blob keys of ``what`` of a run."""
    return f"{encode_token(workflow_id)}/{run}/{what}"


def is_ref(payload: Payload) -> bool:
    """Whether ``payload`` stands for a blob. Payloads are compact JSON, so a prefix decides."""
    return len(payload) <= _LONGEST_REF and bytes(memoryview(payload)[: len(_PREFIX)]) == _PREFIX


def may_hold_ref(raw: bytes) -> bool:
    """False when encoded ``raw`` certainly holds no reference, without decoding it."""
    return _MARK in raw


class LimitedConverter:
    """``inner``, refusing values that no store would take: the error meets the code that made the
    value, not the store that is asked to keep it."""

    def __init__(self, inner: PayloadConverter, *, max_payload: int = MAX_PAYLOAD) -> None:
        self._inner = inner
        self._max_payload = max_payload

    def to_payload(self, value: Any) -> Payload:
        payload = self._inner.to_payload(value)
        if len(payload) > self._max_payload:
            raise SerializationError(
                f"a {type(value).__name__} of {len(payload)} bytes is above the limit of "
                f"{self._max_payload} bytes for one payload: store it elsewhere and pass its address"
            )
        return payload

    def from_payload(self, payload: Payload, hint: Any = Any) -> Any:
        return self._inner.from_payload(payload, hint)


class PayloadStore:
    """Moves payloads above ``inline_limit`` to blobs, and more when their sum is above
    ``total_limit``; fetches them again.

    Raises SerializationError, naming size and limit, for a payload above ``max_payload``.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        inline_limit: int = INLINE_LIMIT,
        total_limit: int = TOTAL_LIMIT,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        self._blobs = blobs
        self.inline_limit = inline_limit
        self._total_limit = total_limit
        self._max_payload = max_payload

    def fits(self, payloads: Sequence[Payload]) -> bool:
        """Whether :meth:`offload` would leave all of them where they are."""
        return sum(map(len, payloads)) <= self.inline_limit

    async def offload(
        self, payloads: Sequence[Payload], key_prefix: str, *, smallest: int | None = None
    ) -> list[Payload]:
        """``payloads`` with references in the place of large ones.

        A blob's key is ``<key_prefix>-<position>-<digest>``: the same content again goes to the
        same key. ``smallest`` moves everything above that size.
        """
        result = list(payloads)
        chosen = self._chosen(result, smallest)
        if not chosen:
            return result
        for position in chosen:
            self._check(len(result[position]))
        gate = asyncio.Semaphore(_AT_ONCE)

        async def move(position: int) -> None:
            async with gate:
                result[position] = await self._put(f"{key_prefix}-{position}", result[position])

        async with _task_group() as group:
            for position in chosen:
                group.create_task(move(position))
        return result

    async def restore(
        self, payloads: Sequence[Payload], *, owner: str | None = None
    ) -> list[Payload]:
        """``payloads`` with blobs in the place of their references.

        ``owner`` is the workflow id whose blobs they must be. Raises SerializationError for a blob
        that is gone or somebody else's.
        """
        result = list(payloads)
        chosen = [position for position, payload in enumerate(result) if is_ref(payload)]
        if not chosen:
            return result
        gate = asyncio.Semaphore(_AT_ONCE)

        async def fetch(position: int) -> None:
            async with gate:
                result[position] = await self._get(result[position], owner)

        async with _task_group() as group:
            for position in chosen:
                group.create_task(fetch(position))
        return result

    async def offload_one(self, payload: Payload, key_prefix: str) -> Payload:
        if len(payload) <= self.inline_limit:
            return payload
        return (await self.offload([payload], key_prefix))[0]

    async def restore_one(self, payload: Payload, *, owner: str | None = None) -> Payload:
        return await self._get(payload, owner) if is_ref(payload) else payload

    async def offload_event[E: Event](
        self, event: E, key_prefix: str, *, smallest: int | None = None
    ) -> E:
        """``event`` with references in the place of its large payloads."""
        return (await self._offload_structs([event], key_prefix, smallest))[0]

    async def restore_event[E: Event](self, event: E, *, owner: str | None = None) -> E:
        """``event`` with blobs in the place of its references."""
        return await self.restore_struct(event, owner=owner)

    async def offload_commands(self, commands: Sequence[Command], key_prefix: str) -> list[Command]:
        """``commands`` with references in the place of large payloads, the sum taken over all."""
        return await self._offload_structs(commands, key_prefix, None)

    async def offload_struct[S: msgspec.Struct](
        self, struct: S, key_prefix: str, *, smallest: int | None = None
    ) -> S:
        """The same for any struct with payloads or failures in it."""
        return (await self._offload_structs([struct], key_prefix, smallest))[0]

    async def restore_struct[S: msgspec.Struct](self, struct: S, *, owner: str | None = None) -> S:
        payloads = gather(struct)
        if not any(is_ref(payload) for payload in payloads):
            return struct
        return scatter(struct, iter(await self.restore(payloads, owner=owner)))

    async def _offload_structs[S: msgspec.Struct](
        self, structs: Sequence[S], key_prefix: str, smallest: int | None
    ) -> list[S]:
        payloads = [payload for struct in structs for payload in gather(struct)]
        if not self._chosen(payloads, smallest):
            return list(structs)
        moved = iter(await self.offload(payloads, key_prefix, smallest=smallest))
        return [scatter(struct, moved) for struct in structs]

    def _chosen(self, payloads: Sequence[Payload], smallest: int | None) -> list[int]:
        """The positions to move: the large ones, then the largest until the sum fits."""
        limit = self.inline_limit if smallest is None else smallest
        sizes = [len(payload) for payload in payloads]
        total = sum(sizes)
        if total <= limit:
            return []
        chosen = {position for position, size in enumerate(sizes) if size > limit}
        total -= sum(sizes[position] for position in chosen)
        if total > self._total_limit:
            for position in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
                if total <= self._total_limit or sizes[position] <= _WORTHWHILE:
                    break
                if position not in chosen:
                    chosen.add(position)
                    total -= sizes[position]
        return sorted(chosen)

    def _check(self, size: int) -> None:
        if size > self._max_payload:
            raise SerializationError(
                f"a payload of {size} bytes is above the limit of {self._max_payload}: "
                "store it elsewhere and pass its address"
            )

    async def _put(self, key: str, payload: Payload) -> Payload:
        if is_ref(payload):
            return payload
        data = bytes(payload)
        key = f"{key}-{hashlib.blake2b(data, digest_size=8).hexdigest()}"
        try:
            await self._blobs.put(key, data)
        except TooLarge as error:
            raise SerializationError(
                f"a payload of {len(data)} bytes is more than the blob store takes: {error}"
            ) from error
        where = _Where(key=key, size=len(data))
        return Payload(_encoder.encode(_Envelope(payload=_Ref("blob/ref", where))))

    async def _get(self, ref: Payload, owner: str | None) -> Payload:
        try:
            where = _decoder.decode(ref).payload.metadata
        except msgspec.DecodeError as error:
            raise SerializationError(f"a malformed payload reference: {error}") from error
        if owner is not None and not where.key.startswith(f"{encode_token(owner)}/"):
            raise SerializationError(f"payload {where.key!r} does not belong to {owner!r}")
        data = await self._blobs.get(where.key)
        if data is None:
            raise SerializationError(
                f"the payload {where.key!r} of {where.size} bytes is gone from the blob store"
            )
        return Payload(data)


@asynccontextmanager
async def _task_group() -> AsyncGenerator[asyncio.TaskGroup]:
    """A task group that raises its first error itself."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
