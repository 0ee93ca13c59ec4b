"""Taking messages from a consumer: one inbox, requests topped up ahead, settling without waiting.

``asked`` counts messages that the server may still send for open requests. Held deliveries plus
``asked`` never exceed the credit, so neither do held deliveries.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from perdure.adapters.jetstream.link import Link, LinkSubscription
from perdure.adapters.jetstream.mux import command
from perdure.adapters.jetstream.wire import Message, header_of
from perdure.ports.addresses import Stored
from perdure.ports.clock import Clock
from perdure.ports.errors import PortError, Unavailable

log = logging.getLogger("perdure.nats")

_EXPIRES: Final = 10_000_000_000
"""What is asked for by a process that hangs is lost to others for so long, and a lease."""
_HEARTBEAT: Final = 5_000_000_000
_SILENCE: Final = 2 * _HEARTBEAT / 1e9 + 1
"""Seconds without a word from the server after which its requests are taken for lost."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_REMEMBERED: Final = 64
_AT_A_TIME: Final = 2_000_000
"""Bytes that one request may bring, and at least one message of any size: the server sends as fast as
it reads, and cuts a connection off for which more than 64 MB are waiting."""
_PENDING: Final = b"\r\nNats-Pending-Messages: "
_ACK_PREFIX: Final = b"$JS.ACK."
_ORDINARY: Final = ("batch completed", "message size exceeds")


class Held:
    """One delivery, from its first offer here until it is settled."""

    __slots__ = (
        "_message",
        "_pull",
        "attempt",
        "data",
        "head",
        "is_old",
        "parsed",
        "raw_subject",
        "reply",
        "seq",
        "timestamp",
    )

    def __init__(
        self, pull: "Pull", message: Message, attempt: int, seq: int, timestamp: int
    ) -> None:
        self._pull = pull
        self._message: Stored | None = None
        self.parsed: Any = None
        """What the subject says, once somebody asked."""
        self.reply = message.raw_reply
        self.raw_subject = message.raw_subject
        self.data = message.data
        self.head = message.head
        self.attempt = attempt
        self.seq = seq
        self.timestamp = timestamp
        self.is_old = timestamp < pull.begun

    @property
    def message(self) -> Stored:
        stored = self._message
        if stored is None:
            stored = self._message = Stored(self.seq, self.timestamp, self.data)
        return stored

    def ack(self) -> None:
        self._pull.settle(self, b"PUB %b  4\r\n+ACK\r\n")

    def nak(self, delay: int = 0) -> None:
        word = b'-NAK {"delay":%d}' % delay if delay > 0 else b"-NAK"
        self._pull.settle(self, b"PUB %%b  %d\r\n%b\r\n" % (len(word), word))

    def extend(self) -> None:
        self._pull.extend(self)


def parse_ack(reply: bytes) -> tuple[int, int, int]:
    """Offers, stream sequence and timestamp out of an acknowledgement subject, old form
    (``$JS.ACK.<stream>.<consumer>.…``) or new (``$JS.ACK.<domain>.<account>.<stream>.…``)."""
    words = reply.split(b".")
    at = 4 if len(words) == 9 else 6
    return int(words[at]), int(words[at + 1]), int(words[at + 3])


class Pull:
    """A running consumption: the Subscription of the inbox, task and ingress ports."""

    def __init__(
        self,
        link: Link,
        stream: str,
        consumer: str,
        on_delivery: Callable[[Any], None],
        *,
        credit: int,
        ensure: Callable[[], Awaitable[Any]],
        kind: type[Held] = Held,
        clock: Clock | None = None,
    ) -> None:
        if credit < 1:
            raise ValueError(f"credit must be at least 1, got {credit}")
        self._link = link
        self._next = f"{link.api_prefix}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._name = f"{stream} > {consumer}"
        self._on_delivery = on_delivery
        self._credit = credit
        self._ensure = ensure
        self._kind = kind
        self._clock = clock
        self._observe = clock.observe if clock is not None else None
        self.begun = 0
        """Stream time of the newest beginning. What was there before may have been offered or
        settled already: a server that crashes forgets the last moments of its consumers."""
        self._loop = asyncio.get_running_loop()
        self._held: dict[int, Held] = {}
        self._asked = 0
        self._batches: dict[bytes, int] = {}
        self._requests = 0
        self._inbox = ""
        self._subscription: LinkSubscription | None = None
        self._planned = False
        self._heard = 0.0
        self._pause = _FIRST_PAUSE
        self._paused = False
        self._closed = False
        self._doubt = True
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._forget_hook: Callable[[], None] = lambda: None

    # ------------------------------------------------------------- lifecycle

    async def start(self) -> "Pull":
        """Begin. Raises what ``ensure`` raises."""
        await self._ensure()
        self._doubt = False
        await self._listen()
        self._forget_hook = self._link.on_reconnect(self._wake.set)
        self._keeper = self._loop.create_task(self._keep())
        return self

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._forget_hook()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._subscription is not None:
            # What the server sends until it hears of this is handed back by `_take`.
            await self._subscription.unsubscribe()

    @property
    def held(self) -> int:
        """Deliveries handed over and not settled."""
        return len(self._held)

    async def _keep(self) -> None:
        """Listen anew after a reconnection, a lost consumer or a silence."""
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT / 1e9):
                    await self._wake.wait()
            except TimeoutError:
                quiet = self._loop.time() - self._heard
                if not self._asked or quiet < _SILENCE:
                    self._plan()
                    continue
                log.warning("%s: no word for %.0f s, asking again", self._name, quiet)
            self._wake.clear()
            try:
                if self._doubt:
                    await self._ensure()
                    self._doubt = False
                await self._listen()
            except PortError as error:
                log.warning("%s: %s", self._name, error)
                self._doubt = True
                await self._wait_a_little()
                self._wake.set()
            except Exception:
                log.exception("%s: listening", self._name)
                await self._wait_a_little()
                self._wake.set()

    async def _wait_a_little(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _listen(self) -> None:
        """A fresh inbox: open requests of the old one end with it, so the count starts at zero."""
        old, self._subscription = self._subscription, None
        inbox = self._link.new_inbox()
        self._inbox = f"{inbox}."
        self._asked = 0
        self._batches.clear()
        self._heard = self._loop.time()
        self.begun = self._clock.now() if self._clock is not None else 0
        prefix, cut = self._inbox, len(inbox) + 1

        def hear(message: Message) -> None:
            self._hear(message, prefix is self._inbox, cut)

        self._subscription = await self._link.subscribe(f"{inbox}.*", hear)
        self._plan()
        if old is not None:
            await old.unsubscribe()

    # ---------------------------------------------------------------- asking

    def _plan(self) -> None:
        if not self._planned and not self._paused and not self._closed:
            self._planned = True
            self._loop.call_soon(self._top_up)

    def _top_up(self) -> None:
        self._planned = False
        room = self._credit - len(self._held) - self._asked
        # Half a credit at a time when settling keeps up; less when only less is free.
        if room <= 0 or room < self._asked or self._closed or self._subscription is None:
            return
        if not self._link.connected:
            return
        self._requests += 1
        number = str(self._requests)
        if len(self._batches) >= _REMEMBERED:
            del self._batches[next(iter(self._batches))]
        self._batches[number.encode()] = room
        body = b'{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}' % (
            room,
            max(_AT_A_TIME, 2 * self._link.max_payload),
            _EXPIRES,
            _HEARTBEAT,
        )
        if not self._asked:
            self._heard = self._loop.time()
        try:
            self._link.push(command(self._next, f"{self._inbox}{number}", b"", body))
        except Unavailable:
            # More is waiting to be said than the server reads.
            self._resume_later()
            return
        self._asked += room

    def _resume(self) -> None:
        self._paused = False
        self._plan()

    def _resume_later(self) -> None:
        if not self._paused:
            self._paused = True
            self._loop.call_later(self._pause, self._resume)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    # --------------------------------------------------------------- hearing

    def _hear(self, message: Message, fresh: bool, cut: int) -> None:
        if fresh:
            self._heard = self._loop.time()
        if message.raw_reply.startswith(_ACK_PREFIX):
            self._take(message, fresh)
        elif fresh and not self._closed:
            self._status(message, message.raw_subject[cut:])

    def _take(self, message: Message, fresh: bool) -> None:
        attempt, seq, timestamp = parse_ack(message.raw_reply)
        if fresh and self._asked:
            self._asked -= 1
        held = self._held.get(seq)
        if held is not None:
            # Its lease ran out and it came back: it is still in hand, only its name changed.
            held.reply = message.raw_reply
            self._plan()
            return
        if self._closed or not fresh or len(self._held) >= self._credit:
            self._say(b"PUB %b  4\r\n-NAK\r\n" % message.raw_reply)
            return
        if self._observe is not None:
            self._observe(timestamp)
        self._pause = _FIRST_PAUSE
        held = self._held[seq] = self._kind(self, message, attempt, seq, timestamp)
        if not self._planned:
            self._plan()
        try:
            self._on_delivery(held)
        except Exception:
            log.exception("%s: the receiver of sequence %d raised", self._name, seq)

    def _status(self, message: Message, number: bytes) -> None:
        status = message.status
        if status == 100:
            return
        left = header_of(message.head, _PENDING)
        refused = self._batches.pop(number, 0)
        self._asked = max(0, self._asked - (int(left) if left is not None else refused))
        text = message.description
        if status in (404, 408) or (status == 409 and text.lower().startswith(_ORDINARY)):
            self._plan()
            return
        log.info("%s: %d %s", self._name, status, text)
        if status == 503 or "deleted" in text.lower():
            self._doubt = True
            self._wake.set()
        else:
            self._resume_later()

    # -------------------------------------------------------------- settling

    def settle(self, held: Held, word: bytes) -> None:
        """Let go of a delivery with a word to the server; a second word has no effect."""
        if self._held.pop(held.seq, None) is None:
            return
        self._say(word % held.reply)
        if not self._planned:
            self._plan()

    def extend(self, held: Held) -> None:
        if held.seq in self._held:
            self._say(b"PUB %b  4\r\n+WPI\r\n" % held.reply)

    def _say(self, line: bytes) -> None:
        try:
            self._link.push(line)
        except Unavailable:
            # Unsaid words cost one more offer, nothing else.
            log.debug("%s: no connection to settle on", self._name)
