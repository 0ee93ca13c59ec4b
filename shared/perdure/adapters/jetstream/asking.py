"""Publishing and requesting over one inbox, and when to ask again.

What surely did not happen is asked again until the time is up. What may have happened is asked
again only when the caller says that a second copy has no effect; else it is an UnknownOutcome.
"""

import asyncio
import contextlib
import secrets
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec

from perdure.adapters.jetstream.errors import ApiError, may_repeat, port_error
from perdure.adapters.jetstream.mux import Denied, Lost, Mux, command
from perdure.adapters.jetstream.options import ConnectOptions
from perdure.adapters.jetstream.wire import Message, WireClient, encode_headers
from perdure.ports.errors import Closed, PortError, TooLarge, Unavailable, UnknownOutcome

_MAX_HEAD: Final = 64 * 1024
_TRY: Final = 2.0
"""Seconds that one try of something repeatable may take."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5


class Ack(msgspec.Struct, frozen=True):
    """JetStream's answer to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


class _Failed(msgspec.Struct):
    error: ApiError | None = None


_READS: Final = frozenset(("INFO", "GET", "NAMES", "LIST"))
_SAME_TWICE: Final = "STREAM.PURGE."
_decode_ack = msgspec.json.Decoder(Ack).decode
_decode_failed = msgspec.json.Decoder(_Failed).decode
_NOBODY: Final = ApiError(code=503, description="nobody answers: no such stream, or no leader now")


class Asking:
    """The half of a link that waits for answers."""

    def __init__(self, options: ConnectOptions) -> None:
        self.options = options
        self.api_prefix = options.api
        self.inbox = f"{options.inbox_prefix}.{secrets.token_hex(8)}"
        self._mux = Mux(f"{self.inbox}.r")
        self._client = WireClient()
        self._ready = asyncio.Event()
        self._turnstile = asyncio.Lock()
        self._closing = False
        self.refusals: Counter[int] = Counter()
        """How often the server said no, by its error number, or by its status where it gave none."""
        self.acknowledged = 0
        """Publishes with a receipt."""
        self.in_vain = 0
        """What nobody answered in time, or only to say that nobody can now."""

    @property
    def connected(self) -> bool:
        return self._ready.is_set() and self._client.is_connected

    @property
    def max_payload(self) -> int:
        """The largest message that the server takes, headers included."""
        return self._client.max_payload

    async def publish(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | bytes | None = None,
        *,
        timeout: float = 5.0,
        idempotent: bool = False,
    ) -> Ack:
        """Publish to a stream and wait for its acknowledgement.

        ``headers`` may be a block that is encoded already. ``idempotent``: a second copy would have
        no effect (it carries a Msg-Id or replaces itself), so an unanswered try is repeated until
        ``timeout``. What surely did not happen is repeated in any case. Raises every port error.
        """
        head = _head_of(headers)
        self._check(subject, head, data)
        lost: Lost | None = None
        if self._ready.is_set() and self._client.is_connected and not self._client.congested:
            wait = min(timeout, _TRY) if idempotent else timeout
            try:
                ack = _ack_of(await self._mux.ask(self._client, subject, head, data, wait))
            except (Lost, Denied) as error:
                if isinstance(error, Denied) or not idempotent:
                    raise self._unanswered(error, subject, writes=True) from error
                lost = error
                timeout -= error.waited
            else:
                if ack.error is None:
                    self.acknowledged += 1
                    return ack
                self._refused(ack.error)
                if not _repeats(ack.error):
                    raise port_error(ack.error, subject)
        answer = await self._insist(subject, head, data, timeout, repeat=idempotent, lost=lost)
        ack = _ack_of(answer)
        if ack.error is not None:
            raise port_error(ack.error, subject)
        self.acknowledged += 1
        return ack

    def post(self, subject: str, data: bytes, head: bytes) -> Coroutine[Any, Any, None]:
        """An idempotent :meth:`publish` whose message is on its way already; await it to hear that
        it is stored. While the connection is away it begins when awaited."""
        self._check(subject, head, data)
        if not self._ready.is_set() or not self._client.is_connected or self._client.congested:
            return self._posted(None, subject, head, data)
        answer = self._mux.ask(self._client, subject, head, data, _TRY)
        return self._posted(answer, subject, head, data)

    async def _posted(
        self, answer: Future[Message] | None, subject: str, head: bytes, data: bytes
    ) -> None:
        if answer is not None:
            with contextlib.suppress(Lost, Denied):
                ack = _ack_of(await answer)
                if ack.error is None:
                    self.acknowledged += 1
                    return
                self._refused(ack.error)
                if not _repeats(ack.error):
                    raise port_error(ack.error, subject)
        # Again, and by all the patience that a publish has.
        await self.publish(subject, data, head, idempotent=True)

    def send(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Publish without waiting for anything; at most once. While the server is away a few
        megabytes are held back, and some more while it is slow; what is beyond raises Unavailable."""
        head = encode_headers(headers) if headers else b""
        self._check(subject, head, data)
        if reply:
            _check_subject(reply)
        self.push(command(subject, reply, head, data))

    def push(self, line: bytes) -> None:
        """Send a whole command of NATS's protocol: for words so frequent that they are prepared."""
        client = self._client
        if not client.is_connected and (client.is_closed or client.congested):
            raise Unavailable(f"no connection to NATS at {self.options.addresses}")
        if client.overrun:
            raise Unavailable(
                f"NATS at {self.options.addresses} does not read: {client.waiting} bytes wait"
            )
        client.push(line)

    async def request(self, subject: str, data: bytes, *, timeout: float = 5.0) -> Message:
        """One answer from whoever serves ``subject``. Raises Unavailable when nobody does or not in
        time; nothing is repeated."""
        self._check(subject, b"", data)
        await self.until_ready(timeout)
        try:
            answer = await self._mux.ask(self._client, subject, b"", data, timeout)
        except (Lost, Denied) as error:
            raise self._unanswered(error, subject, writes=False) from error
        if answer.status == 503:
            raise Unavailable(f"nobody answers {subject}")
        return answer

    def ask_once(self, name: str, data: bytes, timeout: float) -> Future[Message]:
        """A request to the JetStream API, sent now: for pipelines. The future fails with Lost or
        Denied; call :meth:`until_ready` before."""
        return self._mux.ask(self._client, f"{self.api_prefix}.{name}", b"", data, timeout)

    async def ask_api(
        self,
        name: str,
        data: bytes,
        *,
        timeout: float = 5.0,
        repeat: bool = True,
        writes: bool = False,
        more: Callable[[Message], bool] | None = None,
    ) -> Message:
        """A request to the JetStream API, again while no leader answers and, with ``repeat``, when
        an answer got lost; without an answer it is Unavailable, or UnknownOutcome if it ``writes``.
        The answer is not looked into."""
        subject = f"{self.api_prefix}.{name}"
        self._check(subject, b"", data)
        return await self._insist(
            subject, b"", data, timeout, repeat=repeat, writes=writes, more=more
        )

    async def api(
        self, name: str, body: Mapping[str, Any] | None = None, *, timeout: float = 5.0
    ) -> dict[str, Any]:
        """``$JS.API.<name>``: the answer, or its error as a port error (Missing for what is not
        there; ``errors.err_code_of`` tells the server's number)."""
        data = msgspec.json.encode(body) if body is not None else b""
        reads = _only_reads(name)
        repeat = reads or name.startswith(_SAME_TWICE)
        answer = await self.ask_api(name, data, timeout=timeout, repeat=repeat, writes=not reads)
        error = _error_of(answer)
        if error is not None:
            raise port_error(error, f"{self.api_prefix}.{name}")
        result: dict[str, Any] = msgspec.json.decode(answer.data)
        return result

    # --------------------------------------------------------------- insisting

    async def until_ready(self, timeout: float = 5.0) -> None:
        """Wait for the connection and for room in its buffer. Raises Unavailable or Closed."""
        if self._closing:
            raise Closed(f"the connection to NATS at {self.options.addresses} was closed here")
        if not self.connected:
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                raise Unavailable(
                    f"no connection to NATS at {self.options.addresses} within {timeout:.3g} s"
                ) from None
        if self._client.congested:
            await self._until_relieved(timeout)

    async def _until_relieved(self, timeout: float) -> None:
        try:
            # One after the other: all at once would only fill the buffer again.
            async with asyncio.timeout(timeout), self._turnstile:
                while self.connected and self._client.congested:
                    await self._client.relieve()
        except TimeoutError:
            raise Unavailable(
                f"NATS at {self.options.addresses} does not read: {self._client.waiting} bytes "
                f"wait to be sent, for {timeout:.3g} s"
            ) from None

    async def _insist(
        self,
        subject: str,
        head: bytes,
        data: bytes,
        timeout: float,
        *,
        repeat: bool,
        writes: bool = True,
        lost: Lost | None = None,
        more: Callable[[Message], bool] | None = None,
    ) -> Message:
        """Ask until there is an answer. ``lost``: how an earlier try ended."""
        now = asyncio.get_running_loop().time
        deadline = now() + max(timeout, 0.01)
        pause = _FIRST_PAUSE
        while True:
            left = max(deadline - now(), 0.01)
            try:
                await self.until_ready(left)
            except Unavailable:
                if lost is None:
                    raise
                raise self._unanswered(lost, subject, writes=writes) from lost
            try:
                wait = min(left, _TRY) if repeat else left
                answer = await self._mux.ask(self._client, subject, head, data, wait, more)
            except (Lost, Denied) as error:
                if isinstance(error, Denied) or not repeat or now() >= deadline:
                    raise self._unanswered(error, subject, writes=writes) from error
                lost = error
                continue
            error = _error_of(answer)
            if error is not None:
                self._refused(error)
            if error is None or not _repeats(error):
                return answer
            if now() + pause >= deadline:
                self.in_vain += 1
                return answer
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _refused(self, error: ApiError) -> None:
        number = error.err_code or error.code
        self.refusals[number] += 1
        if self.options.on_refusal is not None:
            self.options.on_refusal(number)

    def _unanswered(self, error: Exception, what: str, *, writes: bool) -> PortError:
        if isinstance(error, Denied):
            return Unavailable(
                f"{what}: NATS forbids this user to publish there; allow it in its permissions"
            )
        self.in_vain += 1
        kind = UnknownOutcome if writes else Unavailable
        closing = ", the link is closing" if self._closing else ""
        return kind(f"{what}: {error} (NATS at {self.options.addresses}{closing})")

    def _check(self, subject: str, head: bytes, data: bytes) -> None:
        _check_subject(subject)
        size, limit = len(head) + len(data), self._client.max_payload
        if size > limit or len(head) > _MAX_HEAD:
            raise TooLarge(
                f"a message of {size} bytes for {subject}: the server takes {limit} bytes, "
                f"{_MAX_HEAD} of them headers; raise max_payload there or send less"
            )


def _head_of(headers: Mapping[str, str] | bytes | None) -> bytes:
    if isinstance(headers, bytes):
        return headers
    return encode_headers(headers) if headers else b""


def _check_subject(subject: str) -> None:
    if not subject.isprintable() or " " in subject or not subject:
        raise ValueError(f"not a subject: {subject!r}")


def _only_reads(name: str) -> bool:
    words = name.split(".", 3)
    return not _READS.isdisjoint(words[:3])


def _ack_of(answer: Message) -> Ack:
    return _decode_ack(answer.data) if answer.data else Ack(error=_NOBODY)


def _error_of(answer: Message) -> ApiError | None:
    if answer.status:
        return _NOBODY if answer.status == 503 else None
    if answer.head or not answer.data.startswith(b"{"):
        return None
    return _decode_failed(answer.data).error


def _repeats(error: ApiError) -> bool:
    return error is _NOBODY or may_repeat(error)
