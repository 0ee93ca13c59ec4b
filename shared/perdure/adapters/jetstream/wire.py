"""The hot end of nats-py: messages go from the socket to a plain function, and commands to the
socket, without a queue, a task or a parsed header in between.

Only this file touches the client's protected members. Everything rare (connecting, reconnecting,
authentication, pings) stays the client's own.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError

log = logging.getLogger("perdure.nats")

HEAD: Final = b"NATS/1.0\r\n"
_STATUS_AT: Final = len(b"NATS/1.0")
_SPACE: Final = 0x20
_SLOW: Final = 64 * 1024
"""Bytes left in the socket's transport from which on its own back-pressure counts."""
_FIRST_OF_MSG: Final = 0x4D
_FIRST_OF_HMSG: Final = 0x48
_LOOK: Final = 0.01
_OVERRUN: Final = 4


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """A header block. Raises ValueError for a line break inside: it would forge a header."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError(f"a header contains a line break: {dict(headers)!r}")
    return HEAD + text.encode() + b"\r\n"


def decode_headers(head: bytes) -> dict[str, str]:
    """The headers of a block, without its status."""
    headers: dict[str, str] = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            text = value.strip().decode("utf-8", "replace")
            headers[name.strip().decode("ascii", "replace")] = text
    return headers


def header_of(head: bytes, marker: bytes) -> bytes | None:
    """One header's value; ``marker`` is ``b"\\r\\nName: "``."""
    start = head.find(marker)
    if start < 0:
        return None
    start += len(marker)
    return head[start : head.find(b"\r\n", start)]


class Message:
    """A message as it came; nothing is decoded before it is asked for."""

    __slots__ = ("data", "head", "raw_reply", "raw_subject")

    def __init__(self, raw_subject: bytes, raw_reply: bytes, data: bytes, head: bytes) -> None:
        self.raw_subject = raw_subject
        self.raw_reply = raw_reply
        self.data = data
        self.head = head

    @property
    def subject(self) -> str:
        return self.raw_subject.decode()

    @property
    def reply(self) -> str:
        return self.raw_reply.decode()

    @property
    def headers(self) -> dict[str, str]:
        return decode_headers(self.head) if self.head else {}

    @property
    def status(self) -> int:
        """The server's status, 0 for an ordinary message."""
        head = self.head
        if len(head) > _STATUS_AT and head[_STATUS_AT] == _SPACE:
            word = head[_STATUS_AT + 1 : _STATUS_AT + 4]
            return int(word) if word.isdigit() else 0
        return 0

    @property
    def description(self) -> str:
        """The text after the status."""
        line = self.head[_STATUS_AT + 4 : self.head.find(b"\r\n")]
        return line.strip().decode("utf-8", "replace") if self.status else ""


Handler = Callable[[Message], None]


class _Feed:
    """Stands in for the client's parser."""

    def __init__(self, client: "WireClient") -> None:
        self._client = client

    def reset(self) -> None:
        self._client.forget_input()

    async def parse(self, data: bytes = b"") -> None:
        await self._client.feed(data)


async def _never(_message: Msg) -> None:
    """Direct subscriptions have no use for the client's own delivery."""


class WireClient(Client):
    """A nats-py client with direct subscriptions and unawaited sends."""

    def __init__(self) -> None:
        super().__init__()
        self._direct: dict[int, Handler] = {}
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        self._generation = 0
        self._unsent = 0
        self._flush_planned = False
        self._ps: Any = _Feed(self)

    # -------------------------------------------------------------- sending

    def push(self, command: bytes) -> None:
        """Send a whole protocol command with the next flush."""
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._flush_planned and self._status == Client.CONNECTED:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Once in a round of the loop, everything that the round brought."""
        self._flush_planned = False
        if self._status != Client.CONNECTED or not self._pending:
            return
        self._unsent = self._left_by_socket()
        if self._unsent > _SLOW or not isinstance(self._transport, TcpTransport):
            self._ask_for_flush()
            return
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        try:
            self._transport.writelines(pending)
        except (OSError, RuntimeError):
            # The socket is gone: the client finds out by the same way, and tells.
            self._pending[:0] = pending
            self._pending_data_size += sum(map(len, pending))
            self._ask_for_flush()

    def _ask_for_flush(self) -> None:
        """Leave it to the client's own task, which waits for a slow socket."""
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    @property
    def congested(self) -> bool:
        """More is waiting for the socket than the client wants to hold."""
        return self.waiting > self._max_pending_size

    @property
    def overrun(self) -> bool:
        """Far more is waiting: not even what nobody waits for may be added."""
        return self.waiting > _OVERRUN * self._max_pending_size

    @property
    def waiting(self) -> int:
        """Bytes that wait here, and those that waited in the socket's transport at the last flush."""
        if self._status == Client.CONNECTED:
            return self._pending_data_size + self._unsent
        return self._pending_data_size

    async def relieve(self) -> None:
        """Give the socket a moment to take what is waiting."""
        # Not by the client's own flush: it reports an error after two seconds, and its wait swallows
        # cancellations.
        await asyncio.sleep(_LOOK)
        self._unsent = self._left_by_socket()

    def _left_by_socket(self) -> int:
        # Asked for, and not left to the client's flush: asyncio's transport does not hold back
        # whoever writes many lines at once (gh-136234).
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        return writer.transport.get_write_buffer_size() if writer is not None else 0

    async def round_trip(self, timeout: int) -> None:
        """Return once the server took everything said before: it takes commands in order."""
        if self._status != Client.CONNECTED:
            return
        # The client's ping would overtake what is pending; and its own wait for that swallows
        # cancellations.
        transport, pending = self._transport, self._pending
        if transport is not None and pending:
            self._pending, self._pending_data_size = [], 0
            transport.writelines(pending)
        await self.flush(timeout)

    # ------------------------------------------------------------ receiving

    async def listen(self, subject: str, handler: Handler, queue: str) -> tuple[int, Subscription]:
        number = self._sid + 1
        self._direct[number] = handler
        return number, await cast("Any", self).subscribe(subject, queue=queue, cb=_never)

    def listen_now(self, subject: str, handler: Handler) -> int:
        """As :meth:`listen`, with the next flush and without the client's machinery for delivery."""
        self._sid += 1
        number = self._sid
        self._direct[number] = handler
        self._subs[number] = Subscription(self, number, subject)
        if self._status == Client.CONNECTED:
            self.push(f"SUB {subject}  {number}\r\n".encode())
        return number

    def unlisten_now(self, number: int) -> None:
        """The end of :meth:`listen_now`; what is on its way is dropped."""
        self.unlisten(number)
        if self._status == Client.CONNECTED:
            self.push(b"UNSUB %d\r\n" % number)

    def unlisten(self, number: int) -> None:
        """Forget a subscription, also one whose end could not be told to the server."""
        self._direct.pop(number, None)
        self._remove_sub(number)

    def forget_input(self) -> None:
        self._parts.clear()
        self._have = self._need = 0
        self._generation += 1

    async def feed(self, data: bytes) -> None:
        """Take bytes from the socket and hand over every message that is complete."""
        self._have += len(data)
        if self._parts or self._have < self._need:
            self._parts.append(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        generation = self._generation
        position = 0
        while True:
            end = data.find(b"\r\n", position)
            if end < 0:
                self._need = 0
                break
            first = data[position]
            if first in (_FIRST_OF_MSG, _FIRST_OF_HMSG):
                after = self._message(data, position, end, first == _FIRST_OF_HMSG)
                if after < 0:
                    self._need = -after - position
                    break
                position = after
                continue
            await self._control(data[position:end])
            if generation != self._generation:
                return
            position = end + 2
        self._have = len(data) - position
        if self._have:
            self._parts.append(data[position:])

    def _message(self, data: bytes, start: int, end: int, with_head: bool) -> int:
        """Dispatch the message at ``start``; returns where the next command begins, or minus where
        this one will end when it is not complete yet."""
        words = data[start:end].split()
        count = len(words)
        with_reply = count == 6 if with_head else count == 5
        if not with_reply and count != (5 if with_head else 4):
            raise ProtocolError
        try:
            size = int(words[-1])
            number = int(words[2])
            head = int(words[-2]) if with_head else 0
        except ValueError as error:
            raise ProtocolError from error
        body = end + 2
        stop = body + size
        if len(data) < stop + 2:
            return -(stop + 2)
        handler = self._direct.get(number)
        if handler is None:
            return stop + 2
        reply = words[3] if with_reply else b""
        split = body + head
        message = Message(words[1], reply, data[split:stop], data[body:split])
        try:
            handler(message)
        except Exception:
            log.exception("the handler of %s raised", message.subject)
        return stop + 2

    async def _control(self, line: bytes) -> None:
        if line.startswith(b"PING"):
            await self._process_ping()
        elif line.startswith(b"PONG"):
            await self._process_pong()
        elif line.startswith(b"-ERR"):
            await self._process_err(line[4:].strip().decode("utf-8", "replace").lower())
        elif line.startswith(b"INFO"):
            await self._process_info(json.loads(line[4:]))
        elif not line.startswith(b"+OK"):
            raise ProtocolError

    # ----------------------------------------------------------- supervision

    @property
    def version(self) -> str:
        return str(self._server_info.get("version", ""))

    @property
    def server_name(self) -> str:
        return str(self._server_info.get("server_name", ""))

    @property
    def stuck(self) -> bool:
        """Gone for good, or in a state that the client never leaves by itself."""
        if self._status == Client.CLOSED:
            return True
        if self._status == Client.RECONNECTING:
            return self._reconnection_task is None or self._reconnection_task.done()
        reading: asyncio.Task[None] | None = cast("Any", self)._reading_task
        return self._status == Client.CONNECTED and reading is not None and reading.done()

    @property
    def alone(self) -> bool:
        """No other server is known to move to."""
        return len(self._server_pool) < 2
