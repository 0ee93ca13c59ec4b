"""Reading a stream: by sequence, the newest of a subject, and in batches."""

import asyncio
import base64
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from perdure.adapters.jetstream.asking import Asking
from perdure.adapters.jetstream.errors import MESSAGE_NOT_FOUND, ApiError, port_error
from perdure.adapters.jetstream.mux import Lost
from perdure.adapters.jetstream.wire import Message, decode_headers, header_of
from perdure.ports.errors import Unavailable

_AHEAD: Final = 64
"""Gets in flight: enough to hide the round trip, few enough for a thin connection's buffers."""
_PATIENCE: Final = 2.0

_SUBJECT: Final = b"\r\nNats-Subject: "
_SEQUENCE: Final = b"\r\nNats-Sequence: "
_TIME: Final = b"\r\nNats-Time-Stamp: "


class RawMessage:
    """A stored message; its headers are decoded when asked for."""

    __slots__ = ("data", "head", "seq", "subject", "timestamp")

    def __init__(self, subject: str, seq: int, timestamp: int, data: bytes, head: bytes) -> None:
        self.subject = subject
        self.seq = seq
        self.timestamp = timestamp
        self.data = data
        self.head = head

    @property
    def headers(self) -> dict[str, str]:
        """All headers; those of a direct get's answer itself begin with ``Nats-``."""
        return decode_headers(self.head)


class _Stored(msgspec.Struct):
    subject: str
    seq: int
    time: str
    hdrs: str = ""
    data: str = ""


class _Got(msgspec.Struct):
    message: _Stored | None = None
    error: ApiError | None = None


_decode_got = msgspec.json.Decoder(_Got).decode


@lru_cache(maxsize=4096)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def parse_time(text: str) -> int:
    """Nanoseconds of an RFC 3339 time as Go prints it."""
    second, fraction = text[:19], text[19:]
    if fraction[:1] == "." and fraction[-1:] == "Z" and len(fraction) <= 11:
        # As servers write it, read at once: every message of a load comes by here.
        return _second(second) * 1_000_000_000 + int(fraction[1:-1].ljust(9, "0"))
    nanoseconds = 0
    if fraction.startswith("."):
        end = 1
        while end < len(fraction) and fraction[end].isdigit():
            end += 1
        nanoseconds = int(fraction[1:end].ljust(9, "0")[:9])
        fraction = fraction[end:]
    offset = 0
    if fraction not in ("Z", "z", ""):
        sign = -1 if fraction[0] == "-" else 1
        offset = sign * (int(fraction[1:3]) * 3600 + int(fraction[4:6]) * 60)
    return (_second(second) - offset) * 1_000_000_000 + nanoseconds


def format_time(nanoseconds: int) -> str:
    """RFC 3339 with all nine digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def from_direct(message: Message) -> RawMessage | None:
    """The stored message in a direct get's answer, None for a status."""
    head = message.head
    seq, subject, time = (header_of(head, marker) for marker in (_SEQUENCE, _SUBJECT, _TIME))
    if seq is None or subject is None or time is None:
        return None
    return RawMessage(subject.decode(), int(seq), parse_time(time.decode()), message.data, head)


def _expect_nothing_else(message: Message, what: str) -> None:
    status = message.status
    if status == 404:
        return
    raise port_error(ApiError(status, 0, message.description or "no answer"), what)


async def direct_get(link: Asking, stream: str, seqs: Sequence[int]) -> list[RawMessage | None]:
    name = f"DIRECT.GET.{stream}"
    results: list[RawMessage | None] = []
    flying: deque[tuple[bytes, asyncio.Future[Message]]] = deque()

    async def land() -> None:
        request, future = flying.popleft()
        try:
            message = await future
        except Lost:
            message = await link.ask_api(name, request)
        if message.status == 503:
            message = await link.ask_api(name, request)
        raw = from_direct(message)
        if raw is None:
            _expect_nothing_else(message, name)
        results.append(raw)

    await link.until_ready()
    try:
        for seq in seqs:
            if len(flying) >= _AHEAD:
                await land()
            request = b'{"seq":%d}' % seq
            flying.append((request, link.ask_once(name, request, _PATIENCE)))
        while flying:
            await land()
    finally:
        for _, future in flying:
            future.cancel()
    return results


async def last_message(
    link: Asking, stream: str, subject: str, *, leader: bool
) -> RawMessage | None:
    if leader:
        return await leader_get(link, stream, {"last_by_subj": subject})
    message = await link.ask_api(f"DIRECT.GET.{stream}.{subject}", b"")
    raw = from_direct(message)
    if raw is None:
        _expect_nothing_else(message, f"the newest message of {subject}")
    return raw


async def leader_get(link: Asking, stream: str, body: Mapping[str, Any]) -> RawMessage | None:
    """One message from the stream's leader: never older than what was acknowledged."""
    name = f"STREAM.MSG.GET.{stream}"
    answer = await link.ask_api(name, msgspec.json.encode(body))
    if not answer.data:
        raise Unavailable(f"{name}: no leader answers")
    got = _decode_got(answer.data)
    if got.error is not None:
        if got.error.err_code == MESSAGE_NOT_FOUND:
            return None
        raise port_error(got.error, name)
    stored = got.message
    if stored is None:
        return None
    return RawMessage(
        stored.subject,
        stored.seq,
        parse_time(stored.time),
        base64.b64decode(stored.data),
        base64.b64decode(stored.hdrs),
    )


async def batch_get(
    link: Asking, stream: str, body: Mapping[str, Any], *, timeout: float
) -> list[RawMessage]:
    name = f"DIRECT.GET.{stream}"
    request = msgspec.json.encode(body)
    lost: Unavailable | None = None
    for _ in range(2):
        found: list[RawMessage] = []

        def take(message: Message, found: list[RawMessage] = found) -> bool:
            raw = from_direct(message)
            if raw is not None:
                found.append(raw)
            return raw is not None

        try:
            end = await link.ask_api(name, request, timeout=timeout, repeat=False, more=take)
        except Unavailable as error:
            lost = error
            continue
        if end.status != 204:
            _expect_nothing_else(end, name)
        return found
    raise Unavailable(f"{lost}; asked twice") from lost
